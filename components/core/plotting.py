"""Shared helpers for the plots in reports/, drawn with matplotlib without a display."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import matplotlib
import numpy as np
from numpy.typing import NDArray

from components.core.escaping import one_line

matplotlib.use("Agg")
import matplotlib.pyplot as plt

matplotlib.rcParams["text.parse_math"] = False  # names are external input, and `$` starts a formula in matplotlib
DPI = 110
LONGEST = 28
"""Maximum number of characters of a name in a plot."""


def save_figure(figure: Any, path: Path | BinaryIO) -> None:
    """Write a figure as PNG to a file, without metadata so that equal plots have equal bytes, and close it."""
    figure.savefig(path, format="png", dpi=DPI, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)


def shorten_name(name: str) -> str:
    """Shorten the name to one line of at most LONGEST characters."""
    flat = one_line(name)
    return flat if len(flat) <= LONGEST else f"{flat[: LONGEST - 1]}…"


def image_grid(rows: Sequence[Sequence[NDArray[np.uint8]]], labels: Sequence[str], path: Path) -> None:
    """Plot a row of images per label; the first of each row is the original, the others are its views."""
    columns = max(len(row) for row in rows)
    figure, axes = plt.subplots(len(rows), columns, figsize=(1.15 * columns, 1.15 * len(rows)), squeeze=False)
    for row, label, line in zip(rows, labels, axes, strict=True):
        for axis in line:
            axis.set_axis_off()
        for axis, pixels in zip(line, row, strict=False):
            axis.imshow(pixels)
        line[0].text(-0.08, 0.5, label.replace(" ", "\n"), transform=line[0].transAxes, ha="right", va="center", fontsize=8)
    axes[0][0].set_title("original", fontsize=8)
    axes[0][1].set_title("views", fontsize=8, loc="left")
    figure.subplots_adjust(wspace=0.04, hspace=0.04)
    save_figure(figure, path)
