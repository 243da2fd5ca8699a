"""The whole pipeline and the notebook that it replaces, on several splits of one dataset: figures, seconds, memory.

Works in a copy of the project, with an MLflow store of its own; params.yaml, data/ and the registry stay as they are. For each
seed every stage runs through DVC, then the notebook trains on the same split (benchmarks/notebook.py). Each seed is written as
soon as it is measured, and one that has its row is not run again. Run it from the project's root.
"""

import argparse
import re
import shutil
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import machine
import psutil
from scipy import stats

from components.files import read_json
from flows import workspace
from flows.runner import LESIONFLOW, ROOT, STAGES, CommandFailed, execute, run_stage

PLACE = Path(".prefect/benchmark")
TOOK = re.compile(r"took ([\d.]+) s(?:, ([\d.]+) s of them MLflow's)?$")
HEADLINES = ("accuracy", "balanced_accuracy", "macro_f1", "melanoma_sensitivity", "calibration_error")
POLL = 0.5


def main() -> None:
    """Measure what has no row yet, print the tables, and write them under benchmarks/results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", type=Path, help="a folder, zip or tar to import first (default: the project's own dataset)")
    parser.add_argument("--name", default="pipeline", help="names the file of results (default: %(default)s)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="(default: 0 1 2)")
    parser.add_argument("--notebook-epochs", type=int, default=24, metavar="N", help="0 leaves the notebook out (default: %(default)s)")
    parser.add_argument(
        "-S", "--set-param", dest="overrides", action="append", default=[], metavar="KEY=VALUE", help="as DVC's --set-param takes it"
    )
    given = parser.parse_args()
    if given.source and not given.source.exists():
        parser.error(f"there is no {given.source}")
    source = given.source.resolve() if given.source else None
    path = machine.RESULTS / f"{given.name}.json"
    document = read_json(path) if path.exists() else {}
    dataset = source.name if source else "the project's own"
    if document.get("asked", {"dataset": dataset, "overrides": given.overrides}) != {"dataset": dataset, "overrides": given.overrides}:
        parser.error(f"{path} holds rows of {document['asked']}: give another --name, or delete it")
    rows = document.get("rows", [])
    missing = [seed for seed in given.seeds if seed not in {row["seed"] for row in rows}]
    try:
        if missing:
            root, imported = prepared(source)
        for seed in missing:
            rows.append({"seed": seed, "import": imported, **measure(root, seed, given.overrides, given.notebook_epochs)})
            document = {"asked": {"dataset": dataset, "overrides": given.overrides}, "rows": sorted(rows, key=lambda row: row["seed"])}
            machine.write(given.name, document)
    except CommandFailed as fault:
        raise SystemExit(f"error: {fault}") from None
    print(report([row for row in document["rows"] if row["seed"] in given.seeds]))
    print(f"\nwritten to {path}")


def prepared(source: Path | None) -> tuple[Path, dict[str, float] | None]:
    """A copy of the project with the dataset in it, and what importing it took."""
    root = workspace.copy(ROOT, PLACE)
    execute([sys.executable, "-m", "dvc", "pull", "weights.dvc"], print, root=root, what="dvc pull weights.dvc")
    if source is None:
        execute([sys.executable, "-m", "dvc", "pull", "data.dvc"], print, root=root, what="dvc pull data.dvc")
        return root, None
    shutil.rmtree(root / "data", ignore_errors=True)
    with watched() as cost:
        execute([*LESIONFLOW, "import", str(source)], print, root=root, what=f"lesionflow import {source}")
    return root, cost


def measure(root: Path, seed: int, overrides: list[str], notebook_epochs: int) -> dict[str, Any]:
    """One seed: every stage, then the notebook on the same split."""
    shutil.copy2(ROOT / "params.yaml", root / "params.yaml")
    workspace.set_params(root / "params.yaml", [*overrides, f"seed={seed}"])
    for left in ("build", "reports", "mlruns"):
        shutil.rmtree(root / left, ignore_errors=True)
    described = machine.described()
    stages = {name: staged(root, name) for name in STAGES}
    evaluation, split, tuned = (read_json(root / "reports" / f"{name}.json") for name in ("evaluation", "split", "finetune"))
    row = {
        "machine": described,
        "images": sum(split["images"].values()),
        "views": tuned["views"],
        "epochs": tuned["epochs"],
        "stages": stages,
        "build_bytes": sum(file.stat().st_size for file in (root / "build").rglob("*") if file.is_file()),
        "picked": evaluation["picked"],
        "validation": evaluation["validation"],
        "test": {name: evaluation["test"][name] for name in ("images", "groups", *HEADLINES)},
        "frozen": evaluation["phases_on_test"]["frozen"],
        "finetuned_less_frozen": evaluation["finetuned_less_frozen_on_test"]["balanced_accuracy"],
        "shifts": {name: cost["drop"] for name, cost in evaluation["shifts"].items()},
        "notebook": None,
    }
    if notebook_epochs:
        command = [sys.executable, "benchmarks/notebook.py", "--epochs", str(notebook_epochs)]
        execute(command, print, root=root, what="benchmarks/notebook.py")
        row["notebook"] = read_json(root / "benchmarks" / "results" / "notebook.json")
    return row


def staged(root: Path, stage: str) -> dict[str, float]:
    """Run a stage through DVC: seconds in all, of its own work and of MLflow within that, and the most memory it took."""
    took: list[tuple[float, float]] = []

    def heard(line: str) -> None:
        print(line, flush=True)
        if found := TOOK.search(line):
            took.append((float(found[1]), float(found[2] or 0)))

    with watched() as cost:
        run_stage(stage, heard, root=root, force=True)
    (work, mlflow) = took[-1]
    return {**cost, "work": work, "mlflow": mlflow}


@contextmanager
def watched() -> Iterator[dict[str, float]]:
    """Wall seconds of the body, and the most memory (MB, shared pages counted once) that its child processes held together."""
    cost, ended = {"seconds": 0.0, "peak_mb": 0.0}, threading.Event()

    def watch() -> None:
        while not ended.wait(POLL):
            held = 0
            for process in psutil.Process().children(recursive=True):
                try:
                    held += process.memory_full_info().pss
                except psutil.Error:  # it ended meanwhile
                    continue
            cost["peak_mb"] = max(cost["peak_mb"], held / 2**20)

    watcher, start = threading.Thread(target=watch), time.perf_counter()
    watcher.start()
    try:
        yield cost
    finally:
        cost["seconds"] = round(time.perf_counter() - start, 1)
        ended.set()
        watcher.join()
        cost["peak_mb"] = round(cost["peak_mb"])


def report(rows: list[dict[str, Any]]) -> str:
    """The rows as tables."""
    return "\n\n".join([_figures(rows), _stages(rows), _against_notebook([row for row in rows if row["notebook"]])])


def _figures(rows: list[dict[str, Any]]) -> str:
    gains: list[tuple[str, list[dict[str, float]]]] = [
        ("fine-tuned less frozen, balanced accuracy", [r["finetuned_less_frozen"] for r in rows])
    ]
    compared = [row["notebook"]["figures"] for row in rows if row["notebook"]]
    if compared:
        gains += [(f"less the notebook, {name.replace('_', ' ')}", [row[name]["gain"] for row in compared]) for name in compared[0]]
    lost = [(f"lost under {name.replace('_', ' ')}", [row["shifts"][name] for row in rows]) for name in rows[0]["shifts"]]
    test = [(name.replace("_", " "), [row["test"][name] for row in rows]) for name in HEADLINES]
    frozen = [(f"frozen, {name.replace('_', ' ')}", [row["frozen"][name] for row in rows]) for name in rows[0]["frozen"]]
    head = f"{'on test, by seed with 95 % intervals':<44}" + "".join(f"{row['seed']:<26}" for row in rows) + "mean over seeds"
    return "\n".join([head, *(_line(label, estimates) for label, estimates in test + frozen + gains + lost)])


def _line(label: str, estimates: list[dict[str, float]]) -> str:
    cells = "".join(f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]".ljust(26) for found in estimates)
    return f"{label:<44}{cells}{mean_with_interval([found['value'] for found in estimates])}"


def mean_with_interval(values: list[float]) -> str:
    """Mean over seeds with its 95 % interval by Student's t (Gosset 1908); of one seed the value alone."""
    mean = statistics.mean(values)
    if len(values) == 1:
        return f"{mean:.3f}"
    half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return f"{mean:.3f} [{mean - half:.3f}, {mean + half:.3f}]"


def outside(stage: str, cost: dict[str, float]) -> float:
    """Seconds of a stage that computed nothing: start, imports, DVC's hashing, MLflow; all of them where it only registers."""
    return cost["seconds"] if stage == "register" else cost["seconds"] - cost["work"] + cost["mlflow"]


def _stages(rows: list[dict[str, Any]]) -> str:
    lines = [f"{'stage':<12}{'seconds':>10}{'ms/image':>10}{'outside computing':>20}{'peak MB':>10}"]
    images = statistics.mean(row["images"] for row in rows)
    costs = {stage: [row["stages"][stage] for row in rows] for stage in STAGES}
    if rows[0]["import"]:
        costs = {"import": [row["import"] for row in rows], **costs}
    total = idle = 0.0
    for stage, found in costs.items():
        seconds, peak = statistics.mean(cost["seconds"] for cost in found), max(cost["peak_mb"] for cost in found)
        beside = statistics.mean(outside(stage, cost) for cost in found) if stage != "import" else 0.0
        total, idle = total + seconds, idle + beside
        lines.append(f"{stage:<12}{seconds:>10.1f}{1000 * seconds / images:>10.1f}{beside:>20.1f}{peak:>10.0f}")
    size = statistics.mean(row["build_bytes"] for row in rows) / images
    lines.append(f"{'all':<12}{total:>10.1f}{1000 * total / images:>10.1f}{idle:>20.1f}")
    return "\n".join([*lines, f"{images:.0f} images; build/ holds {size / 1024:.0f} KiB per image; {rows[-1]['machine']}"])


def _against_notebook(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "the notebook was left out"
    lines = [f"{'seconds, from import to a registered model':<44}{'frozen phase alone':>20}{'with fine-tuning':>18}{'notebook trains':>17}"]
    for row in rows:
        whole = sum(cost["seconds"] for cost in row["stages"].values()) + (row["import"] or {"seconds": 0.0})["seconds"]
        frozen, theirs = whole - row["stages"]["finetune"]["seconds"], row["notebook"]["training_seconds"]
        lines.append(
            f"{'seed ' + str(row['seed']):<44}{frozen:>13.0f} ({frozen / theirs:.2f}){whole:>11.0f} ({whole / theirs:.2f}){theirs:>17}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
