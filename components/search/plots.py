"""Pictures of a cross-validation."""

from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib import pyplot as plt

from components.core.plotting import save_figure
from components.core.reports.cross_validation import CrossValidation

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(report: CrossValidation, path: Path) -> None:
    """Draw each metric's folds, and its mean with its interval."""
    figure, axes = plt.subplots(figsize=(7, 0.55 * len(report.mean) + 1.2))
    _draw(axes, report)
    save_figure(figure, path)


def _draw(axes: "Axes", report: CrossValidation) -> None:
    names = list(report.mean)
    for row, name in enumerate(names):
        values = [fold.figures[name] for fold in report.folds]
        axes.plot(values, [row] * len(values), "o", alpha=0.45, markersize=5, color="tab:blue", label="a fold" if row == 0 else None)
        mean = report.mean[name]
        axes.errorbar(
            mean.value,
            row,
            xerr=[[mean.value - mean.low], [mean.high - mean.value]],
            fmt="|",
            markersize=14,
            color="black",
            capsize=4,
            label="mean, 95 % interval" if row == 0 else None,
        )
    axes.set_yticks(range(len(names)), [report.label_set.metric_label(name) for name in names])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.02)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
