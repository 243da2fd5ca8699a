"""Renders a training view of an image: one affine warp of the original pixels, then color, blur, vignetting and compression.

The view starts from the largest center square, which is also the model's input in serving. The transforms vary what the diagnosis does
not depend on: orientation and distance of the dermoscope, light, white balance, focus, and processing by the clinic's software.
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from components.imaging.images import Pixels, downsample_to, jpeg_round_trip
from components.runtime.params import Augment

BLUR = (0.5, 3.0)
"""Standard deviation of the Gaussian, in pixels of a view REFERENCE pixels wide."""
REFERENCE_SIZE = 224
SHARPEN_RADIUS = (1.0, 5.0)
"""Standard deviation of the Gaussian of the unsharp mask, in pixels of such a view."""
SHARPEN_PERCENT = (50, 250)
"""Strength of the unsharp mask."""
JPEG_QUALITY = (30, 85)
VIGNETTE = (0.2, 0.8)
VIGNETTE_STARTS = 0.4
"""Distance from the center, in half sides, within which a vignette darkens nothing."""

Matrix = NDArray[np.float64]
Levels = NDArray[np.float32]
"""Pixels as levels from 0 to 255; values outside are clipped when rounded."""


@dataclass(frozen=True)
class Warp:
    """The part of the image that a view shows.

    `linear_map`: shape (2, 2), determinant 1 or -1, maps a direction in the view to one in the image, both as (x, y) with y downwards.
    `zoom`: above 1 the view shows less than the square, below 1 more. `shift`: shape (2,), offset of the view's center from the
    square's, as shares of the square's side.
    """

    linear_map: Matrix
    zoom: float
    shift: Matrix


def random_generator(seed: int, path: str, number: int) -> np.random.Generator:
    """Random generator of one view, independent of processing order and number of processes."""
    key = int.from_bytes(hashlib.sha256(path.encode()).digest())
    return np.random.default_rng([seed, key, number])


def render(image: Image.Image, size: int, params: Augment, random: np.random.Generator) -> Pixels:
    """Render a view of an RGB image of any size: uint8, shape (size, size, 3).

    With all augmentations disabled it equals `images.center_square_resize`.
    """
    (sharpening,) = random.spawn(1)  # a separate generator, so that sharpening does not change the other draws
    pixels = warp_image(image, size, sample_warp(params, random))
    if random.random() < params.blur_probability:
        pixels = blur(pixels, random.uniform(*BLUR) * size / REFERENCE_SIZE)
    if sharpening.random() < params.sharpen_probability:
        radius = sharpening.uniform(*SHARPEN_RADIUS) * size / REFERENCE_SIZE
        pixels = sharpen(pixels, radius, int(sharpening.integers(*SHARPEN_PERCENT, endpoint=True)))
    pixels = jitter_color(pixels, params, random)
    if random.random() < params.vignette_probability:
        pixels *= vignette_mask(size, random.uniform(*VIGNETTE))
    view = to_uint8(pixels)
    if random.random() < params.jpeg_probability:
        view = jpeg_round_trip(view, int(random.integers(*JPEG_QUALITY, endpoint=True)))
    return np.asarray(view)


def sample_warp(params: Augment, random: np.random.Generator) -> Warp:
    """Draw flips, aspect, shear and rotation, in this order from the view to the image; then zoom and shift."""
    flips = np.diag(random.choice([-1.0, 1.0], 2)) if params.flips else np.eye(2)
    stretch = math.sqrt(params.max_aspect_stretch ** random.uniform(-1, 1))
    slant, slope = np.tan(np.radians(random.uniform(-params.shear, params.shear, 2)))
    angle = math.radians(random.uniform(-params.rotation, params.rotation))
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    shear = np.array([[1, slant], [0, 1]]) @ np.array([[1, 0], [slope, 1]])
    turn = rotation @ shear @ np.diag([stretch, 1 / stretch]) @ flips
    zoom = math.exp(random.uniform(*np.log(params.zoom)))
    return Warp(turn, zoom, random.uniform(-params.shift, params.shift, 2))


def warp_image(image: Image.Image, size: int, warp: Warp) -> Levels:
    """Sample the part of the image given by `warp` bilinearly: float32, shape (size, size, 3). Beyond its edges the image is mirrored.

    If the view has a lower resolution than the image, the image is first downsampled to the view's scale, which avoids aliasing and
    bounds the memory by the view's size.
    """
    scene = downsample_to(image, round(size * warp.zoom))
    side = min(scene.size)
    step = side / size / warp.zoom * warp.linear_map
    start = np.array(scene.size) / 2 + warp.shift * side - step @ np.full(2, size / 2)
    corners = start[:, None] + step @ np.array([[0, 0, size, size], [0, size, 0, size]])
    low, high = np.floor(corners.min(axis=1)).astype(int) - 1, np.ceil(corners.max(axis=1)).astype(int) + 1
    columns, rows = (reflect_indices(np.arange(first, last), length) for first, last, length in zip(low, high, scene.size, strict=True))
    window = Image.fromarray(np.asarray(scene)[rows][:, columns])
    x, y = start - low
    coefficients = (step[0, 0], step[0, 1], x, step[1, 0], step[1, 1], y)
    bands = [  # Pillow's transform truncates 8-bit pixels, which darkens by half a level, so bands are converted to float
        band.convert("F").transform((size, size), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
        for band in window.split()
    ]
    return np.stack([np.asarray(band, dtype=np.float32) for band in bands], axis=-1)


def reflect_indices(places: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Reflect indices of any size into 0 to length - 1, like NumPy's symmetric padding."""
    turned = places % (2 * length)
    return np.minimum(turned, 2 * length - 1 - turned)


def to_uint8(pixels: Levels) -> Image.Image:
    """Round to an image with 8 bits per channel."""
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def blur(pixels: Levels, radius: float) -> Levels:
    """Apply a Gaussian blur; `radius` is its standard deviation in pixels."""
    return np.asarray(to_uint8(pixels).filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32)


def sharpen(pixels: Levels, radius: float, percent: int) -> Levels:
    """Apply an unsharp mask; `radius` is the standard deviation of its Gaussian in pixels."""
    return np.asarray(to_uint8(pixels).filter(ImageFilter.UnsharpMask(radius, percent, threshold=0)), dtype=np.float32)


def jitter_color(pixels: Levels, params: Augment, random: np.random.Generator) -> Levels:
    """Apply brightness (a factor), contrast (around the image's mean), saturation (around each pixel's gray) and white balance (a factor
    per channel) as one affine map of colors."""
    brightness, contrast, saturation = (
        1 + random.uniform(-reach, reach) for reach in (params.brightness, params.contrast, params.saturation)
    )
    balance = np.exp(random.uniform(-params.white_balance, params.white_balance, 3))
    mixing = saturation * np.eye(3) + (1 - saturation) / 3
    colours = balance[:, None] * mixing * (contrast * brightness)
    lift = balance * (1 - contrast) * brightness * pixels.mean()
    return pixels @ colours.T.astype(np.float32) + lift.astype(np.float32)


def vignette_mask(size: int, strength: float) -> NDArray[np.float32]:
    """Factors that darken an image towards its corners, like a dermoscope's tube: float32, shape (size, size, 1)."""
    place = np.linspace(-1, 1, size, dtype=np.float32)
    distance = np.hypot(place[:, None], place)[..., None]
    return (1 - strength * np.clip(distance - VIGNETTE_STARTS, 0, 1) ** 2).astype(np.float32)
