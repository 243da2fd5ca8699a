"""Formats the rows of pipeline.py as tables: accuracy of the model, cost of a run, and both compared with the notebook."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from benchmarks.harness.labels import ISIC9
from benchmarks.harness.tables import Target, mean_with_interval, table, target_cells
from components.core.former_formats import FORMER_METRIC_NAMES
from components.evaluation.shifts import SQUARE_CROP
from flows.stages import STAGES

Row = dict[str, Any]
OUTSIDE = ("dvc", "start", "imports", "mlflow")
TARGETS = {
    "frozen phase: seconds over the notebook's": Target(0.5, most=True),
    "frozen phase: balanced accuracy less the notebook's": Target(0.0),
    "with fine-tuning: seconds over the notebook's": Target(2.0, most=True),
    "with fine-tuning: balanced accuracy less the notebook's": Target(0.10),
    "seconds outside computing, all stages": Target(60, most=True),
    "peak memory of any stage, MB": Target(4000, most=True),
}
OF_ANY = {"worst loss under a shift": Target(0.05, most=True), "loss under square crop": Target(0.03, most=True)}
OF_DATASET = {
    "isic9": {
        "balanced accuracy": Target(0.68),
        "macro f1": Target(0.65),
        "melanoma sensitivity": Target(0.65),
        "calibration error": Target(0.05, most=True),
        **OF_ANY,
    },
    "isic_full": {"accuracy": Target(0.82), "balanced accuracy": Target(0.72), "melanoma sensitivity": Target(0.65), **OF_ANY},
}
"""Targets on test, by name of the results."""


def with_new_names(rows: list[Row]) -> list[Row]:
    """Rows with today's names of metrics; results that were measured before a metric was renamed have the old ones."""
    return [_renamed(row) for row in rows]


def _renamed(part: Any) -> Any:
    if isinstance(part, dict):
        return {FORMER_METRIC_NAMES.get(name, name): _renamed(value) for name, value in part.items()}
    return part


def report(rows: list[Row], name: str) -> str:
    """All tables; `name` is the name of the results."""
    rows = with_new_names(rows)
    parts = [headline_table(rows, TARGETS | OF_DATASET.get(name, {})), metrics_table(rows)]
    if with_classes := [row for row in rows if "per_class" in row]:
        parts.append(classes(with_classes))
    parts.append(stages(rows))
    if any(row["notebook"] for row in rows):
        parts.append(against_notebook([row for row in rows if row["notebook"]]))
    else:
        parts.append("The notebook was left out.")
    return "\n\n".join(parts)


def headline_table(rows: list[Row], targets: Mapping[str, Target]) -> str:
    """Means over seeds, compared with their targets."""
    compared = [row for row in rows if row["notebook"]]
    found = {name: [one["value"] for one in estimates] for name, estimates in _on_test(rows).items()}
    found["worst loss under a shift"] = [max(drop["value"] for drop in row["shifts"].values()) for row in rows]
    found["loss under square crop"] = [row["shifts"][SQUARE_CROP]["value"] for row in rows]
    found["fine-tuned less frozen, balanced accuracy"] = [row["finetuned_less_frozen"]["value"] for row in rows]
    if compared:
        theirs = [row["notebook"]["figures"]["balanced_accuracy"]["notebook"]["value"] for row in compared]
        frozen = [row["frozen"]["balanced_accuracy"]["value"] for row in compared]
        gains = [row["notebook"]["figures"]["balanced_accuracy"]["gain"]["value"] for row in compared]
        found["frozen phase: seconds over the notebook's"] = [frozen_seconds(row) / _notebook_seconds(row) for row in compared]
        found["frozen phase: balanced accuracy less the notebook's"] = [one - two for one, two in zip(frozen, theirs, strict=True)]
        found["with fine-tuning: seconds over the notebook's"] = [seconds(row) / _notebook_seconds(row) for row in compared]
        found["with fine-tuning: balanced accuracy less the notebook's"] = gains
    found["seconds outside computing, all stages"] = [
        sum(overhead_seconds(stage, row["stages"][stage]) for stage in measured_stages(rows)) for row in rows
    ]
    found["peak memory of any stage, MB"] = [max(cost["peak_mb"] for cost in row["stages"].values()) for row in rows]
    lines = [[name, *target_cells(targets.get(name), values, digits=3 if max(values) < 10 else 0)] for name, values in found.items()]
    seeds = ", ".join(str(row["seed"]) for row in rows)
    return table([f"seeds {seeds}; on test, mean [95 % interval over seeds]", "", "target", ""], lines)


def metrics_table(rows: list[Row]) -> str:
    """Test metrics: one column per seed with its bootstrap interval, and the mean over seeds."""
    found = _on_test(rows)
    found |= {f"frozen, {ISIC9.metric_label(name)}": [row["frozen"][name] for row in rows] for name in rows[0]["frozen"]}
    found["fine-tuned less frozen, balanced accuracy"] = [row["finetuned_less_frozen"] for row in rows]
    compared = [row["notebook"]["figures"] for row in rows if row["notebook"]]
    if len(compared) == len(rows):
        found |= {f"less the notebook, {ISIC9.metric_label(name)}": [one[name]["gain"] for one in compared] for name in compared[0]}
    found |= {f"lost under {name.replace('_', ' ')}": [row["shifts"][name] for row in rows] for name in rows[0]["shifts"]}
    lines = [
        [name, *map(_interval, estimates), mean_with_interval([one["value"] for one in estimates])] for name, estimates in found.items()
    ]
    picked = ["picked on validation", *(row["picked"] for row in rows), ""]
    return table(["on test [95 % interval]", *(f"seed {row['seed']}" for row in rows), "mean over seeds"], [*lines, picked])


def classes(rows: list[Row]) -> str:
    """Correctly predicted test images of each class and their total, one column per seed."""

    def found(row: Row, name: str) -> str:
        one = row["per_class"][name]
        return f"{round(one['recall'] * one['images'])} of {one['images']} ({one['recall']:.2f})"

    lines = [[name.replace("_", " "), *(found(row, name) for row in rows)] for name in rows[0]["per_class"]]
    return table(["found on test, of each class", *(f"seed {row['seed']}" for row in rows)], lines)


def _on_test(rows: list[Row]) -> dict[str, list[dict[str, float]]]:
    named = [name for name, found in rows[0]["test"].items() if isinstance(found, dict)]
    return {ISIC9.metric_label(name): [row["test"][name] for row in rows] for name in named}


def _interval(found: dict[str, float]) -> str:
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def overhead_seconds(stage: str, cost: dict[str, float]) -> float:
    """Overhead of a stage in seconds: DVC, start, imports, MLflow; all seconds for the stage register."""
    return cost["seconds"] if stage == "register" else sum(cost[part] for part in OUTSIDE)


def seconds(row: Row) -> float:
    """Seconds from the import, if there was one, to a registered model."""
    return sum(cost["seconds"] for cost in row["stages"].values()) + (row["import"] or {"seconds": 0.0})["seconds"]


def measured_stages(rows: list[Row]) -> list[str]:
    """The stages that every row has, in the pipeline's order: older rows lack what was added later."""
    return [stage for stage in STAGES if all(stage in row["stages"] for row in rows)]


def frozen_seconds(row: Row) -> float:
    """Seconds without fine-tuning; evaluation still includes both phases."""
    return seconds(row) - float(row["stages"]["finetune"]["seconds"])


def _notebook_seconds(row: Row) -> float:
    return float(row["notebook"]["training_seconds"])


def stages(rows: list[Row]) -> str:
    """Cost of each stage: means over seeds, and peak memory over seeds."""
    images = statistics.mean(row["images"] for row in rows)

    def mean(stage: str, look: Callable[[dict[str, float]], float]) -> float:
        return statistics.mean(look(row["stages"][stage]) for row in rows)

    lines, whole = [], [0.0] * (2 + len(OUTSIDE))
    if rows[0]["import"]:
        took = statistics.mean(row["import"]["seconds"] for row in rows)
        lines.append(["import", f"{took:.1f}", _per_image(took, images), *[""] * 5, f"{max(row['import']['peak_mb'] for row in rows):.0f}"])
        whole[0] += took
    for stage in measured_stages(rows):
        took = mean(stage, lambda cost: cost["seconds"])
        idle = [
            mean(stage, partial(overhead_seconds, stage)),
            *(mean(stage, itemgetter(part)) for part in OUTSIDE),
        ]
        whole = [one + two for one, two in zip(whole, [took, *idle], strict=True)]
        peak = max(row["stages"][stage]["peak_mb"] for row in rows)
        lines.append([stage, f"{took:.1f}", _per_image(took, images), *(f"{one:.1f}" for one in idle), f"{peak:.0f}"])
    lines.append(["all", f"{whole[0]:.1f}", _per_image(whole[0], images), *(f"{one:.1f}" for one in whole[1:]), ""])
    head = ["stage", "seconds", "ms/image", "outside computing", "DVC", "start", "imports", "MLflow", "peak MB"]
    size = statistics.mean(row["build_bytes"] for row in rows) / images / 1024
    return "\n\n".join([table(head, lines), f"{images:.0f} images; build/ holds {size:.0f} KiB per image; {rows[-1]['machine']}."])


def _per_image(took: float, images: float) -> str:
    return f"{1000 * took / images:.1f}"


def against_notebook(rows: Sequence[Row]) -> str:
    """Seconds of each seed compared with the notebook's training, and their ratio."""
    lines = []
    for row in rows:
        theirs = _notebook_seconds(row)
        ours = [f"{took:.0f} ({took / theirs:.2f})" for took in (frozen_seconds(row), seconds(row))]
        lines.append([f"seed {row['seed']}", *ours, f"{theirs:.0f}"])
    return table(["seconds, from import to a registered model", "frozen phase alone", "with fine-tuning", "notebook trains"], lines)
