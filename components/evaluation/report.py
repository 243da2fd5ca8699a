"""Writes the tables and plots of an evaluation."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.core import plotting, spreadsheets
from components.core.reports.evaluation import CollectionResult, Estimate, ShiftResult, SubgroupResult, Subgroups
from components.evaluation import metrics, plots, subgroups
from components.evaluation.predictions import Predictions
from components.evaluation.robustness import shifted_views
from components.imaging import images, tfrecords
from components.imaging.model_input import ModelInput

SUBGROUP_COUNTS = ("images", "groups", "classes", "malignant_images", "critical_images")
BOUNDS = {"": "value", "_low": "low", "_high": "high"}
"""Suffix of the column of each bound of a figure."""
SUBGROUP_FIGURES = (name + suffix for name in (*subgroups.FIGURES, *subgroups.TRIAGE_FIGURES) for suffix in BOUNDS)
SUBGROUP_COLUMNS = ["dimension", "subgroup", *SUBGROUP_COUNTS, "too_few", *SUBGROUP_FIGURES]


def draw_shifts(costs: dict[str, ShiftResult], left_out: dict[str, CollectionResult], folder: Path) -> None:
    """Write shifts.csv and shifts.png, with what leaving a collection out costs below the shifts."""
    without = {f"without {name}": row for name, row in left_out.items()}
    shown: dict[str, ShiftResult | CollectionResult] = {**costs, **without}
    rows = [{"shift": name, "balanced_accuracy": row.balanced_accuracy, **asdict(row.drop)} for name, row in shown.items()]
    pd.DataFrame(rows).rename(columns={"value": "drop"}).to_csv(folder / "shifts.csv", index=False)
    plots.drops({name: row.drop for name, row in shown.items()}, folder / "shifts.png")


def draw_subgroups(measured: dict[str, Subgroups], overall: Estimate, folder: Path) -> None:
    """Write subgroups.csv and subgroups.png; `overall`: balanced accuracy on all test images."""
    rows = list(subgroups.named_subgroups(measured))
    table = pd.DataFrame([_subgroup_row(*row) for row in rows], columns=SUBGROUP_COLUMNS)
    spreadsheets.write(table.astype(dict.fromkeys(SUBGROUP_COUNTS, "Int64")), folder / "subgroups.csv")
    plots.subgroups(rows, overall, folder / "subgroups.png")


def _subgroup_row(dimension: str, value: str, result: SubgroupResult) -> dict[str, Any]:
    """A line of subgroups.csv: what was counted, then each figure with its bounds."""
    counts = {name: getattr(result, name) for name in SUBGROUP_COUNTS}
    bounds = {f"{name}{suffix}": getattr(row, bound) for name, row in result.figures.items() for suffix, bound in BOUNDS.items()}
    return {"dimension": dimension, "subgroup": value, **counts, "too_few": not result.figures, **bounds}


def draw_shift_examples(example: bytes, model_input: ModelInput, folder: Path) -> None:
    """Write shifts_examples.png, which shows one test image file as the model sees it under every shift."""
    original = images.load_pixels(example, model_input.size, model_input.resolution)
    plots.shifted({"as it is": original, **shifted_views(example, model_input)}, folder / "shifts_examples.png")


def draw_metrics(after: Predictions, before: Predictions, bins: int, gallery: int, folder: Path) -> None:
    """Write the plots, and the tables for `dvc plots`."""
    names = after.labels.outputs
    plots.confusion(metrics.confusion_matrix(after.truth, after.predicted, len(names)), names, folder / "confusion.png")
    plots.roc(after.truth, after.probabilities, names, folder / "roc.png")
    curves = {"before": before, "after temperature scaling": after}
    tables = {name: pd.DataFrame(metrics.reliability_table(item.truth, item.probabilities, bins)) for name, item in curves.items()}
    plots.reliability(tables, folder / "reliability.png")
    named = pd.DataFrame({"actual": np.array(names)[after.truth], "predicted": np.array(names)[after.predicted]})
    named.to_csv(folder / "confusion.csv", index=False)
    pd.concat([table.assign(probabilities=name) for name, table in tables.items()]).to_csv(folder / "reliability.csv", index=False)

    draw_mistakes(after, gallery, folder / "mistakes.png")


def draw_mistakes(scored: Predictions, most: int, path: Path) -> None:
    """Plot the test images that the model misclassified with the highest probability."""
    names, predicted = scored.labels.outputs, scored.predicted
    confidence = scored.probabilities[np.arange(len(predicted)), predicted]
    wrong = np.flatnonzero(predicted != scored.truth)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:most]
    paths = scored.images["path"].to_numpy(dtype=str)
    worst_paths: set[str] = set(paths[worst])
    pixels: dict[str, NDArray[np.uint8]] = {}
    for batch in tfrecords.iter_batches("test"):
        owners = tfrecords.paths_of(batch)
        pixels |= {owner: image for owner, image in zip(owners, batch["pixels"], strict=True) if owner in worst_paths}
    stems = {at: plotting.shorten_name(Path(paths[at]).stem) for at in worst}
    captions = [
        f"{names[scored.truth[at]]}\ncalled {names[predicted[at]]}\n{confidence[at]:.0%}  {stems[at]}".replace("_", " ") for at in worst
    ]
    plots.gallery([pixels[paths[at]] for at in worst], captions, len(wrong), path)
