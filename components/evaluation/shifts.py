"""Simulated distribution shifts between clinics, as pure functions from an RGB image to an RGB image.

Each is one plausible change at a fixed strength, applied to the original before `images.center_square_resize`, so that the drop in
accuracy can be measured on labeled test images. Hendrycks and Dietterich 2019 (arXiv:1903.12261) do so for natural images; Maron et
al. 2021 (doi:10.1016/j.ejca.2021.06.047) for dermoscopy. Sharpening simulates a dermoscope's software, with radii of 2 and 4 pixels of
an image 224 pixels wide, as in photo editors.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from PIL import Image, ImageFilter

from components.core.reports.evaluation import CollectionResult, ShiftResult
from components.imaging.images import jpeg_round_trip

Shift = Callable[[Image.Image], Image.Image]
BILINEAR = Image.Resampling.BILINEAR


def square_crop(image: Image.Image) -> Image.Image:
    """Crop to the largest center square."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def zoom(image: Image.Image, factor: float) -> Image.Image:
    """Scale the image by `factor` around its center, keeping its size.

    Below 1, the area outside the image is mirrored.
    """
    width, height = image.size
    around = max(0.0, (1 / factor - 1) / 2)
    right, down = math.ceil(around * width), math.ceil(around * height)
    wide = Image.fromarray(np.pad(np.asarray(image), ((down, down), (right, right), (0, 0)), mode="symmetric"))
    left, top = max(0.0, right + (width - width / factor) / 2), max(0.0, down + (height - height / factor) / 2)
    box = (left, top, min(wide.width, left + width / factor), min(wide.height, top + height / factor))  # rounding may leave the image
    return wide.resize((width, height), BILINEAR, box=box)


def scale_axes(image: Image.Image, width: float, height: float) -> Image.Image:
    """Scale width and height by these factors, rounded to at least one pixel."""
    return image.resize((max(1, round(image.width * width)), max(1, round(image.height * height))), BILINEAR)


def scale_channels(image: Image.Image, red: float, green: float, blue: float) -> Image.Image:
    """Multiply each channel by its factor, clipped at 255."""
    return image.point([min(255, math.floor(level * gain + 0.5)) for gain in (red, green, blue) for level in range(256)])


def blur(image: Image.Image, sigma: float) -> Image.Image:
    """Apply a Gaussian blur whose sigma is this share of the short side."""
    return image.filter(ImageFilter.GaussianBlur(sigma * min(image.size)))


def sharpen(image: Image.Image, radius: float, percent: int) -> Image.Image:
    """Apply an unsharp mask whose Gaussian has this share of the short side as sigma."""
    return image.filter(ImageFilter.UnsharpMask(radius * min(image.size), percent, threshold=0))


def vignette(image: Image.Image, strength: float, start: float) -> Image.Image:
    """Multiply by 1 - strength * clip(r - start, 0, 1)^2, with r the distance from the center in half sides."""
    across, down = (np.abs((2 * np.arange(side, dtype=np.float32) + 1) / side - 1) for side in image.size)
    gain = 1 - strength * np.clip(np.hypot(down[:, None], across[None]) - start, 0, 1) ** 2
    return Image.fromarray((np.asarray(image) * gain[..., None] + np.float32(0.5)).astype(np.uint8))


SQUARE_CROP = "square_crop"
SHIFTS: dict[str, Shift] = {
    SQUARE_CROP: square_crop,
    "zoom_0.7": partial(zoom, factor=0.7),
    "zoom_1.5": partial(zoom, factor=1.5),
    "narrow": partial(scale_axes, width=0.75, height=1.0),
    "wide": partial(scale_axes, width=1.0, height=0.75),
    "white_balance_warm": partial(scale_channels, red=1.1, green=1.0, blue=0.9),
    "white_balance_cool": partial(scale_channels, red=0.9, green=1.0, blue=1.1),
    "exposure_dark": partial(scale_channels, red=0.75, green=0.75, blue=0.75),
    "exposure_bright": partial(scale_channels, red=1.25, green=1.25, blue=1.25),
    "blur": partial(blur, sigma=0.01),
    "sharpened_mild": partial(sharpen, radius=2 / 224, percent=100),
    "sharpened_strong": partial(sharpen, radius=2 / 224, percent=200),
    "sharpened_wide": partial(sharpen, radius=4 / 224, percent=150),
    "jpeg_40": partial(jpeg_round_trip, quality=40),
    "vignette": partial(vignette, strength=0.6, start=0.4),
}


def worst_shift(costs: Mapping[str, ShiftResult] | Mapping[str, CollectionResult]) -> str:
    """The shift with the largest drop, of `shifts` in reports/evaluation.json."""
    return max(costs, key=lambda name: costs[name].drop.value)
