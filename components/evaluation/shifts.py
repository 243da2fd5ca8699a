"""What happens to a picture between one clinic and another, as pure functions from an RGB image to an RGB image.

Each is one plausible change at a fixed strength, applied to the original before `images.fit`, so that what a model loses
under it can be measured on labelled test images. Hendrycks and Dietterich 2019 (arXiv:1903.12261) do so for everyday
photographs; Maron et al. 2021 (doi:10.1016/j.ejca.2021.06.047) for dermoscopy. Sharpening is what a dermoscope's own software
does to a picture, as strongly as photo editors offer it: 2 and 4 pixels of a picture 224 pixels wide.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from PIL import Image, ImageFilter

from components.core.reports.evaluation import CollectionCost, ShiftCost
from components.imaging.images import recompressed

Shift = Callable[[Image.Image], Image.Image]
BILINEAR = Image.Resampling.BILINEAR


def square_crop(image: Image.Image) -> Image.Image:
    """The largest centred square."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def zoom(image: Image.Image, factor: float) -> Image.Image:
    """The picture scaled by `factor` about its centre, as large as before.

    Below one it shows more than there is: what lies outside is mirrored.
    """
    width, height = image.size
    around = max(0.0, (1 / factor - 1) / 2)
    right, down = math.ceil(around * width), math.ceil(around * height)
    wide = Image.fromarray(np.pad(np.asarray(image), ((down, down), (right, right), (0, 0)), mode="symmetric"))
    left, top = right + (width - width / factor) / 2, down + (height - height / factor) / 2
    return wide.resize((width, height), BILINEAR, box=(left, top, left + width / factor, top + height / factor))


def squeeze(image: Image.Image, width: float, height: float) -> Image.Image:
    """The sides scaled by these factors, to whole pixels and at least one."""
    return image.resize((max(1, round(image.width * width)), max(1, round(image.height * height))), BILINEAR)


def colour(image: Image.Image, red: float, green: float, blue: float) -> Image.Image:
    """Each channel times its factor, white at most."""
    return image.point([min(255, math.floor(level * gain + 0.5)) for gain in (red, green, blue) for level in range(256)])


def blur(image: Image.Image, sigma: float) -> Image.Image:
    """Out of focus: a Gaussian whose sigma is this share of the short side."""
    return image.filter(ImageFilter.GaussianBlur(sigma * min(image.size)))


def sharpen(image: Image.Image, radius: float, percent: int) -> Image.Image:
    """With an unsharp mask whose Gaussian's sigma is this share of the short side."""
    return image.filter(ImageFilter.UnsharpMask(radius * min(image.size), percent, threshold=0))


def vignette(image: Image.Image, strength: float, start: float) -> Image.Image:
    """Darker outwards: times 1 - strength * clip(r - start, 0, 1)^2, with r the distance from the centre in half sides."""
    across, down = (np.abs((2 * np.arange(side, dtype=np.float32) + 1) / side - 1) for side in image.size)
    gain = 1 - strength * np.clip(np.hypot(down[:, None], across[None]) - start, 0, 1) ** 2
    return Image.fromarray((np.asarray(image) * gain[..., None] + np.float32(0.5)).astype(np.uint8))


SQUARE_CROP = "square_crop"
SHIFTS: dict[str, Shift] = {
    SQUARE_CROP: square_crop,
    "zoom_0.7": partial(zoom, factor=0.7),
    "zoom_1.5": partial(zoom, factor=1.5),
    "narrow": partial(squeeze, width=0.75, height=1.0),
    "wide": partial(squeeze, width=1.0, height=0.75),
    "white_balance_warm": partial(colour, red=1.1, green=1.0, blue=0.9),
    "white_balance_cool": partial(colour, red=0.9, green=1.0, blue=1.1),
    "exposure_dark": partial(colour, red=0.75, green=0.75, blue=0.75),
    "exposure_bright": partial(colour, red=1.25, green=1.25, blue=1.25),
    "blur": partial(blur, sigma=0.01),
    "sharpened_mild": partial(sharpen, radius=2 / 224, percent=100),
    "sharpened_strong": partial(sharpen, radius=2 / 224, percent=200),
    "sharpened_wide": partial(sharpen, radius=4 / 224, percent=150),
    "jpeg_40": partial(recompressed, quality=40),
    "vignette": partial(vignette, strength=0.6, start=0.4),
}


def worst(costs: Mapping[str, ShiftCost] | Mapping[str, CollectionCost]) -> str:
    """The shift, or the collection left out, that costs most."""
    return max(costs, key=lambda name: costs[name].drop.value)
