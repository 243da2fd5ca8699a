"""The plots of an evaluation.

scikit-learn's ConfusionMatrixDisplay would take as much code: it has neither two labels per color nor empty cells, and writes white on
light blue if all shares are low.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.core.plotting import save_figure, shorten_name
from components.core.reports.evaluation import Estimate, SubgroupResult


def confusion(counts: NDArray[np.int64], names: Sequence[str], path: Path) -> None:
    """Plot the confusion matrix as counts and as shares of each true class; rows are the truth."""
    labels = [name.replace("_", " ") for name in names]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(4.0, 0.62 * len(labels))
    figure, axes = plt.subplots(1, 2, figsize=(2 * side + 2, side), sharey=True, layout="constrained")
    for axis, title, texts in ((axes[0], "images", counts.astype(str)), (axes[1], "share of the true class", np.char.mod("%.2f", shares))):
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axis.set_title(title)
        axis.set_xticks(range(len(labels)), labels, rotation=40, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(len(labels)), labels)
        axis.set_xlabel("predicted")
        for row, column in np.ndindex(counts.shape):
            if counts[row, column]:
                color = "white" if shares[row, column] > 0.55 else "black"
                axis.text(column, row, texts[row, column], ha="center", va="center", color=color, fontsize=8)
    axes[0].set_ylabel("true")
    save_figure(figure, path)


def roc(truth: NDArray[np.integer], probabilities: NDArray[np.floating], names: Sequence[str], path: Path) -> None:
    """Plot the one-vs-rest ROC curve of each class with positive and negative images."""
    from sklearn.metrics import RocCurveDisplay

    figure, axis = plt.subplots(figsize=(6.8, 5), layout="constrained")
    for number, name in enumerate(names):
        if 0 < (truth == number).sum() < len(truth):
            RocCurveDisplay.from_predictions(truth == number, probabilities[:, number], name=name.replace("_", " "), ax=axis)
    axis.plot([0, 1], [0, 1], color="0.7", linestyle=":", linewidth=1)
    axis.set(xlabel="1 - specificity", ylabel="sensitivity", title="one-vs-rest ROC")
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    save_figure(figure, path)


def reliability(tables: dict[str, pd.DataFrame], path: Path) -> None:
    """Plot accuracy against confidence, one line per table with columns confidence, accuracy, images."""
    from sklearn.calibration import CalibrationDisplay

    figure, axis = plt.subplots(figsize=(5, 4.6), layout="constrained")
    for name, table in tables.items():
        CalibrationDisplay(table["accuracy"], table["confidence"], y_prob=None).plot(ax=axis, name=name, marker="o", markersize=4)
    axis.set(
        xlabel="confidence of the prediction", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), title="calibration on test", aspect="equal"
    )
    axis.legend(fontsize=8, frameon=False)
    save_figure(figure, path)


def gallery(pictures: Sequence[NDArray[np.uint8]], captions: Sequence[str], mistakes: int, path: Path) -> None:
    """Plot the most confident mistakes with captions, six per row; only a title if there are none."""
    columns = 6
    rows = max(1, -(-len(pictures) // columns))
    figure, axes = plt.subplots(rows, columns, figsize=(2.0 * columns, 2.5 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, picture, caption in zip(axes.flat, pictures, captions, strict=False):
        axis.imshow(picture)
        axis.set_title(caption, fontsize=7)
    figure.suptitle(
        f"the {len(pictures)} most confident of {mistakes} mistakes on test" if pictures else "no mistakes on test", fontsize=10
    )
    save_figure(figure, path)


def drops(costs: dict[str, Estimate], path: Path) -> None:
    """Plot the drop of balanced accuracy under each shift, with 95 % intervals; red if the interval is above zero."""
    names = list(costs)
    value, low, high = (np.array([getattr(costs[name], bound) for name in names]) for bound in ("value", "low", "high"))
    at = np.arange(len(names))
    figure, axis = plt.subplots(figsize=(7, 0.36 * len(names) + 1.2), layout="constrained")
    colors = np.where(low > 0, "tab:red", "tab:blue")
    axis.barh(at, value, color=colors.tolist(), height=0.6, alpha=0.8)
    axis.hlines(at, low, high, color="0.25", linewidth=1.2)
    axis.axvline(0, color="0.4", linewidth=0.8)
    axis.set_yticks(at, [shorten_name(name.replace("_", " ")) for name in names])
    axis.invert_yaxis()
    axis.set(xlabel="drop of balanced accuracy on test", title="under each shift, with 95 % intervals; red: interval above zero")
    save_figure(figure, path)


def subgroups(rows: Sequence[tuple[str, str, SubgroupResult]], overall: Estimate, path: Path) -> None:
    """Plot the balanced accuracy of each subgroup with its 95 % interval, and that of all test images as a line.

    Args:
        rows: dimension, value and figures of each subgroup; the rows of a dimension follow each other. One without figures is "too few".
        overall: balanced accuracy on all test images.
        path: the picture; it has only a title if there are no rows.
    """
    dimensions = list(dict.fromkeys(dimension for dimension, _, _ in rows))
    at = [number + dimensions.index(dimension) for number, (dimension, _, _) in enumerate(rows)]
    figure, axis = plt.subplots(figsize=(7.5, 0.28 * (len(rows) + len(dimensions)) + 1.3), layout="constrained")
    if rows:
        axis.axvspan(overall.low, overall.high, color="0.93", zorder=0)
        axis.axvline(overall.value, color="0.45", linewidth=1, linestyle="--", zorder=1)
    for height, (_, _, result) in zip(at, rows, strict=True):
        found = result.balanced_accuracy
        if found is None:
            axis.text(0.01, height, "too few", va="center", fontsize=8, color="0.5", style="italic")
            continue
        color = "tab:red" if found.high < overall.value else "tab:blue"
        axis.hlines(height, found.low, found.high, color=color, linewidth=1.6)
        axis.plot(found.value, height, marker="o", markersize=5, color=color)
    axis.set_yticks(at, [f"{shorten_name(value)}  ({result.images:,})" for _, value, result in rows], fontsize=8)
    for dimension in dimensions:
        first = next(height for height, (name, _, _) in zip(at, rows, strict=True) if name == dimension)
        axis.text(
            -0.01, first - 0.85, dimension.replace("_", " "), transform=axis.get_yaxis_transform(), ha="right", va="center", weight="bold"
        )
    axis.set_ylim((at[-1] if at else 0) + 0.8, -1.5)
    axis.set(xlim=(0, 1), xlabel="balanced accuracy")
    if rows:
        axis.set_title("test images by subgroup, with 95 % intervals\ndashed: all of them; red: interval below it", fontsize=10)
    else:
        axis.set_axis_off()
        axis.set_title("nothing is known that divides the test images into subgroups", fontsize=10)
    save_figure(figure, path)


def shifted(pictures: dict[str, NDArray[np.uint8]], path: Path) -> None:
    """Plot one image under every shift, with the shift's name."""
    columns = 5
    rows = -(-len(pictures) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(1.9 * columns, 2.1 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (name, pixels) in zip(axes.flat, pictures.items(), strict=False):
        axis.imshow(pixels)
        axis.set_title(name.replace("_", " "), fontsize=8)
    save_figure(figure, path)
