"""The plot docs/assets/results.png: what was measured on real images, from the committed results of the benchmarks."""

import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from components.core.former_formats import MULTICLASS
from documentation.repository import ROOT

RESULTS = "benchmarks/results/isic9/pipeline.json"
DPI = 110
FACE = "white"
"""Opaque, so that black text is readable on a dark page too."""


def draw(path: Path) -> None:
    """Write the plot."""
    rows = json.loads((ROOT / RESULTS).read_text(encoding="utf-8"))["rows"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.2, 3.1), layout="constrained", gridspec_kw={"width_ratios": [1, 1.15]})
    _phases(left, rows)
    _recalls(right, next(row for row in rows if "per_class" in row))
    figure.savefig(path, dpi=DPI, facecolor=FACE, metadata={"Software": None})
    plt.close(figure)


def _phases(axis: Any, rows: list[dict[str, Any]]) -> None:
    """Balanced accuracy of the notebook, the frozen phase and the candidate on each split, with 95 % intervals."""
    of = {
        "starting notebook": [row["notebook"]["figures"]["balanced_accuracy"]["notebook"] for row in rows],
        "frozen base": [row["frozen"]["balanced_accuracy"] for row in rows],
        "fine-tuned": [row["test"]["balanced_accuracy"] for row in rows],
    }
    for number, (name, color) in enumerate(zip(of, ("0.6", "tab:cyan", "tab:blue"), strict=True)):
        value, low, high = (np.array([estimate[key] for estimate in of[name]]) for key in ("value", "low", "high"))
        at = np.arange(len(rows)) + (number - 1) * 0.2
        axis.errorbar(at, value, [value - low, high - value], fmt="o", color=color, label=name, capsize=2, markersize=5)
    axis.set_xticks(range(len(rows)), [f"split {row['seed']}" for row in rows])
    axis.set(ylabel="balanced accuracy", title=f"{rows[0]['images']:,} ISIC images, nine classes", ylim=(0.35, 0.9))
    axis.legend(fontsize=8, frameon=False, loc="upper left", ncols=2)


def _recalls(axis: Any, row: dict[str, Any]) -> None:
    """Share of the test images of each class that the candidate finds on one split."""
    found = sorted(row["per_class"].items(), key=lambda item: item[1]["recall"])
    names = [f"{name.replace('_', ' ')} ({one['images']})" for name, one in found]
    colors = ["tab:red" if name in MULTICLASS.malignant else "tab:blue" for name, _ in found]
    bars = axis.barh(range(len(found)), [one["recall"] for _, one in found], color=colors, alpha=0.8, height=0.65)
    axis.bar_label(bars, fmt="%.2f", fontsize=8, padding=2)
    axis.set_yticks(range(len(found)), names, fontsize=8)
    axis.set(xlim=(0, 1.1), title=f"recall on split {row['seed']} (malignant in red)")
