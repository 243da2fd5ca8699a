"""A training view of an image: one affine warp out of the original pixels, then light, colour, optics and compression.

The view starts from the largest centred square, which is what serving sees. It says to the model what a lesion's diagnosis does not
depend on: how the dermoscope is held and how far away, the lamp, the white balance, the focus, and what a clinic's software made of it.
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from components.imaging.images import Pixels, recompressed, reduced
from components.runtime.params import Augment

BLUR = (0.5, 3.0)
"""Standard deviation of the Gaussian, in pixels of a view REFERENCE pixels wide."""
REFERENCE = 224
SHARPEN_RADIUS = (1.0, 5.0)
"""Standard deviation of the Gaussian that an unsharp mask takes off, in pixels of such a view."""
SHARPEN_PERCENT = (50, 250)
"""How much of what the Gaussian took is put on top."""
JPEG_QUALITY = (30, 85)
VIGNETTE = (0.2, 0.8)
VIGNETTE_STARTS = 0.4
"""Distance from the centre, in half sides, within which a vignette darkens nothing."""

Matrix = NDArray[np.float64]
Levels = NDArray[np.float32]
"""Pixels as grey levels, 0 to 255 and, until they are rounded, beyond."""


@dataclass(frozen=True)
class Warp:
    """Which part of the image a view shows.

    `turn`: shape (2, 2), of determinant 1 or -1, takes a direction in the view to one in the image, both as (x, y) with y downwards.
    `zoom`: above 1 the view shows less than the square, below 1 more. `shift`: shape (2,), the view's centre from the square's, as
    shares of the square's side.
    """

    turn: Matrix
    zoom: float
    shift: Matrix


def generator(seed: int, path: str, number: int) -> np.random.Generator:
    """The view's own source of chance: neither order nor the number of processes changes a view."""
    key = int.from_bytes(hashlib.sha256(path.encode()).digest())
    return np.random.default_rng([seed, key, number])


def render(image: Image.Image, size: int, params: Augment, random: np.random.Generator) -> Pixels:
    """A view of an RGB image of any size: uint8, shape (size, size, 3). With every knob at rest it is `images.fit`'s picture."""
    (apart,) = random.spawn(1)  # so that a view is the same in everything else, sharpened or not
    pixels = warped(image, size, draw_warp(params, random))
    if random.random() < params.blur:
        pixels = blurred(pixels, random.uniform(*BLUR) * size / REFERENCE)
    if apart.random() < params.sharpen:
        pixels = sharpened(pixels, apart.uniform(*SHARPEN_RADIUS) * size / REFERENCE, int(apart.integers(*SHARPEN_PERCENT, endpoint=True)))
    pixels = coloured(pixels, params, random)
    if random.random() < params.vignette:
        pixels *= vignette(size, random.uniform(*VIGNETTE))
    view = rounded(pixels)
    if random.random() < params.jpeg:
        view = recompressed(view, int(random.integers(*JPEG_QUALITY, endpoint=True)))
    return np.asarray(view)


def draw_warp(params: Augment, random: np.random.Generator) -> Warp:
    """Flips, aspect, shear and rotation, in this order from the view to the image; then zoom and shift."""
    flips = np.diag(random.choice([-1.0, 1.0], 2)) if params.flips else np.eye(2)
    stretch = math.sqrt(params.aspect ** random.uniform(-1, 1))
    slant, slope = np.tan(np.radians(random.uniform(-params.shear, params.shear, 2)))
    angle = math.radians(random.uniform(-params.rotation, params.rotation))
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    shear = np.array([[1, slant], [0, 1]]) @ np.array([[1, 0], [slope, 1]])
    turn = rotation @ shear @ np.diag([stretch, 1 / stretch]) @ flips
    zoom = math.exp(random.uniform(*np.log(params.zoom)))
    return Warp(turn, zoom, random.uniform(-params.shift, params.shift, 2))


def warped(image: Image.Image, size: int, warp: Warp) -> Levels:
    """The part of the image that `warp` names, bilinear: float32, shape (size, size, 3). Beyond its edges the image is mirrored.

    Where the view is coarser than the image, the image is first averaged down to the view's scale, so that nothing aliases and
    memory depends on the view's size.
    """
    scene = reduced(image, round(size * warp.zoom))
    side = min(scene.size)
    step = side / size / warp.zoom * warp.turn
    start = np.array(scene.size) / 2 + warp.shift * side - step @ np.full(2, size / 2)
    corners = start[:, None] + step @ np.array([[0, 0, size, size], [0, size, 0, size]])
    low, high = np.floor(corners.min(axis=1)).astype(int) - 1, np.ceil(corners.max(axis=1)).astype(int) + 1
    columns, rows = (mirrored(np.arange(first, last), length) for first, last, length in zip(low, high, scene.size, strict=True))
    window = Image.fromarray(np.asarray(scene)[rows][:, columns])
    x, y = start - low
    coefficients = (step[0, 0], step[0, 1], x, step[1, 0], step[1, 1], y)
    bands = [  # of 8-bit pixels Pillow's transform cuts the fractions off, which darkens by half a level
        band.convert("F").transform((size, size), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
        for band in window.split()
    ]
    return np.stack([np.asarray(band, dtype=np.float32) for band in bands], axis=-1)


def mirrored(places: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Places on an axis without end, folded into 0 to length - 1, as numpy's symmetric padding does."""
    turned = places % (2 * length)
    return np.minimum(turned, 2 * length - 1 - turned)


def rounded(pixels: Levels) -> Image.Image:
    """The picture in 8 bits a channel."""
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def blurred(pixels: Levels, radius: float) -> Levels:
    """The picture out of focus; `radius` is the Gaussian's standard deviation in pixels."""
    return np.asarray(rounded(pixels).filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32)


def sharpened(pixels: Levels, radius: float, percent: int) -> Levels:
    """The picture with an unsharp mask; `radius` is its Gaussian's standard deviation in pixels."""
    return np.asarray(rounded(pixels).filter(ImageFilter.UnsharpMask(radius, percent, threshold=0)), dtype=np.float32)


def coloured(pixels: Levels, params: Augment, random: np.random.Generator) -> Levels:
    """Brightness (a factor), contrast (about the picture's mean), saturation (about each pixel's grey) and white balance (a factor for
    each channel), all at once, since together they are one affine map of colours."""
    brightness, contrast, saturation = (
        1 + random.uniform(-reach, reach) for reach in (params.brightness, params.contrast, params.saturation)
    )
    balance = np.exp(random.uniform(-params.white_balance, params.white_balance, 3))
    mixing = saturation * np.eye(3) + (1 - saturation) / 3
    colours = balance[:, None] * mixing * (contrast * brightness)
    lift = balance * (1 - contrast) * brightness * pixels.mean()
    return pixels @ colours.T.astype(np.float32) + lift.astype(np.float32)


def vignette(size: int, strength: float) -> NDArray[np.float32]:
    """Factors that darken a picture towards its corners, as a dermoscope's tube does: float32, shape (size, size, 1)."""
    place = np.linspace(-1, 1, size, dtype=np.float32)
    distance = np.hypot(place[:, None], place)[..., None]
    return (1 - strength * np.clip(distance - VIGNETTE_STARTS, 0, 1) ** 2).astype(np.float32)
