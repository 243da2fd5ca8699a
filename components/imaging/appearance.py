"""Measures how an image looks, and judges whether it looks like a dermoscopic one: `validate` and registered models alike.

It imports no other module of this project, since registered models include a copy of it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

THUMBNAIL_SIZE = 48
"""Width and height of a thumbnail in pixels."""
COLOR_GRID_SIZE = 16
"""Size of the pixel grid used to detect flat color."""
DARK_LEVEL = 32
"""Gray level up to which a pixel counts as part of the dark corners around a dermoscope's round field of view."""
MIN_COLORFULNESS = 4.0
"""Mean difference in levels between the largest and the smallest channel; below it an image counts as black and white."""
LOW_INFORMATION, NOT_DERMOSCOPIC = "low_information", "not_dermoscopic"
"""Kinds of problems, as `validate` names its findings."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Appearance:
    """`contrast`: standard deviation of the thumbnail, in gray levels; `dominant_color_fraction`: share of pixels that have exactly the
    most frequent color, without dark pixels; `colorfulness`: mean difference of a pixel's largest and smallest channel, in levels."""

    contrast: float
    dominant_color_fraction: float
    colorfulness: float


@dataclass(frozen=True)
class Problem:
    """`kind`: LOW_INFORMATION or NOT_DERMOSCOPIC; `message`: what was measured; `severity`: larger is worse, within a kind."""

    kind: str
    message: str
    severity: float = 0.0


def appearance(image: Image.Image) -> Appearance:
    """Measure an RGB image."""
    grid = np.frombuffer(color_grid(image), dtype=np.uint8).reshape(1, -1, 3)
    dominant, colorfulness = color_measures(grid)
    return Appearance(float(contrast(np.frombuffer(thumbnail(image), dtype=np.uint8)[None])[0]), float(dominant[0]), float(colorfulness[0]))


def problem(looks: Appearance, min_contrast: float, max_dominant_color_fraction: float) -> Problem | None:
    """Why an image does not look like a dermoscopic one, or None."""
    if looks.contrast < min_contrast:
        return Problem(LOW_INFORMATION, f"a contrast of {looks.contrast:.1f} gray levels")
    dominant = looks.dominant_color_fraction
    if dominant > max_dominant_color_fraction:
        return Problem(NOT_DERMOSCOPIC, f"{dominant:.0%} of its pixels have one color", dominant)
    if looks.colorfulness < MIN_COLORFULNESS:
        return Problem(NOT_DERMOSCOPIC, "black and white")
    return None


def thumbnail(image: Image.Image) -> bytes:
    """Resize the image's green channel, which has most of its contrast, to THUMBNAIL_SIZE x THUMBNAIL_SIZE bytes."""
    return image.getchannel("G").resize((THUMBNAIL_SIZE, THUMBNAIL_SIZE), Image.Resampling.BILINEAR, reducing_gap=1.0).tobytes()


def color_grid(image: Image.Image) -> bytes:
    """Single pixels of an RGB image, on a grid of COLOR_GRID_SIZE x COLOR_GRID_SIZE."""
    return image.resize((COLOR_GRID_SIZE, COLOR_GRID_SIZE), Image.Resampling.NEAREST).tobytes()


def contrast(thumbnails: Bytes) -> NDArray[np.float32]:
    """Contrast of images by their thumbnails, uint8 (n, pixels)."""
    return thumbnails.astype(np.float32).std(axis=1)


def color_measures(grids: Bytes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Dominant color fraction and colorfulness of images by their color grids, uint8 (n, pixels, 3)."""
    red, green, blue = grids.transpose(2, 0, 1)  # faster channel by channel than as a reduction over three
    largest, smallest = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    return _dominant_color_fraction(grids, largest), (largest - smallest).mean(axis=1)


def _dominant_color_fraction(grids: Bytes, largest: Bytes) -> NDArray[np.float64]:
    """Share of the most frequent color of each image, without the dark corners of a round field of view, which have one color too."""
    red, green, blue = grids.astype(np.int32).transpose(2, 0, 1)
    packed = red << 16 | green << 8 | blue
    packed[largest <= DARK_LEVEL] = -1
    packed.sort(axis=1)
    place = np.arange(packed.shape[1])
    fresh = np.diff(packed, axis=1, prepend=-2) != 0
    run = place - np.maximum.accumulate(np.where(fresh, place, 0), axis=1) + 1
    longest = np.where(packed >= 0, run, 0).max(axis=1, initial=0)
    return np.where(longest, longest / packed.shape[1], 1.0)
