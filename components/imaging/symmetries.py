"""The symmetries of the square, at which a model sees the same pixels. The served model runs a copy of this module."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

VIEW_COUNTS = (1, 2, 4, 8)
"""Numbers of views that `symmetric_views` gives. Each number is a group: with a mirror or turn of it, an image has the same views."""


def symmetric_views(pixels: NDArray[Any], count: int) -> list[NDArray[Any]]:
    """The image, or each of several, at the first `count` symmetries of the square.

    1: as it is; 2: also mirrored left to right; 4: also both upside down; 8: all four also transposed.

    Args:
        pixels: shape (..., size, size, 3).
        count: one of VIEW_COUNTS.

    Returns:
        `count` arrays of the same shape, the first of which is `pixels`.

    Raises:
        ValueError: another count.
    """
    if count not in VIEW_COUNTS:
        raise ValueError(f"{count} views: allowed are {', '.join(map(str, VIEW_COUNTS))}")
    views = [pixels]
    for change in (_mirrored, _upside_down, _transposed)[: VIEW_COUNTS.index(count)]:
        views += [change(view) for view in views]
    return views


def _mirrored(pixels: NDArray[Any]) -> NDArray[Any]:
    return np.flip(pixels, axis=-2)


def _upside_down(pixels: NDArray[Any]) -> NDArray[Any]:
    return np.flip(pixels, axis=-3)


def _transposed(pixels: NDArray[Any]) -> NDArray[Any]:
    return np.swapaxes(pixels, -3, -2)
