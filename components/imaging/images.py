"""Decodes image files to pixels, for training and serving alike: color-managed like an image viewer, on a white background.

It imports no other modules of this project than headers.py and errors.py, since registered models include copies of them.
"""

import hashlib
import io
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms
from PIL.ImageFile import ImageFile

from components.imaging.headers import decoder_errors, open_header

SUFFIXES = (".jpg", ".jpeg", ".png")
DETAIL = 4
"""A JPEG is decoded at a half, a quarter or an eighth of its size if its short side keeps this multiple of the model's image size. Four
is the largest zoom of an augmented view, so no view is upsampled because of it."""
UPRIGHT = 1
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Transpositions that turn an image of each EXIF orientation upright."""
STRETCH = {"L;2": 85, "L;4": 17}
"""Factors by which Pillow scales 2-bit and 4-bit gray levels to 8 bits; it does not scale a PNG's transparent level."""
SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
"""Color space that a profile must have to apply to images of a mode."""

PROBE = np.linspace(0, 255, 9).astype(np.uint8)
"""Levels of each channel; their combinations are used to test whether a profile changes any color."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Header:
    """Header of a file: JPEG or PNG, Pillow's color mode before conversion, and EXIF orientation (1 is upright)."""

    format: str
    mode: str
    orientation: int


def decode(content: bytes, least: int | None = None) -> Image.Image:
    """Decode a JPEG or PNG to RGB as a viewer shows it: upright by EXIF orientation, in sRGB by color profile, on white.

    A color profile that is corrupt or has another color space than the image is ignored, as in viewers, and so is corrupt EXIF.
    Sixteen bits per channel become eight. The header is checked before any pixel is decoded, so a decompression bomb is rejected
    cheaply.

    Args:
        content: the file's bytes.
        least: pixels that the short side must keep; a JPEG of at least twice that is decoded at a half, a quarter or an eighth of its
            size, which is faster. None decodes at full size.

    Raises:
        UnreadableImageError: empty, of another format, too large, truncated or corrupt; the message gives the reason.
    """
    return decode_with_header(content, least)[0]


def decode_with_header(content: bytes, least: int | None = None) -> tuple[Image.Image, Header]:
    """Like `decode`; also return the header."""
    image = open_header(content)
    with decoder_errors():
        stored = _stored(image)
        if least:
            image.draft(None, (least, least))
        image.load()
        header = Header(str(image.format), image.mode, _orientation(image))
        colours, opacity = _colours_and_opacity(image, stored)
        shown = _managed(colours, image.info.get("icc_profile"))
        if opacity is not None:
            shown = Image.composite(shown, Image.new("RGB", shown.size, "white"), opacity)
        return shown.transpose(TURNS[header.orientation]) if header.orientation in TURNS else shown, header


def _stored(image: ImageFile) -> str:
    """Pillow's raw mode of the stored samples before decoding: "L;4" is 4-bit gray."""
    args = image.tile[0].args
    return str(args[0] if isinstance(args, tuple) else args)


def _orientation(image: ImageFile) -> int:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, OverflowError, struct.error):
        return UPRIGHT
    return int(orientation) if orientation in TURNS else UPRIGHT


def _colours_and_opacity(image: Image.Image, stored: str) -> tuple[Image.Image, Image.Image | None]:
    """Split into the image as 8-bit L, RGB or CMYK and its opacity as L; None if it is fully opaque."""
    key = image.info.get("transparency")
    if image.mode in ("LA", "RGBA") or (image.mode == "P" and key is not None):
        *bands, opacity = (image.convert("RGBA") if image.mode == "P" else image).split()
        return Image.merge("L" if len(bands) == 1 else "RGB", bands), opacity
    if image.mode == "I;16":
        levels = np.asarray(image)
        colours = Image.fromarray((levels >> 8).astype(np.uint8))  # the high byte, as Pillow reads 16-bit colors
        return colours, None if key is None else _where_not(levels == key)
    colours = image if image.mode in SPACES else image.convert("RGB" if image.mode == "P" else "L")
    if key is None:
        return colours, None
    levels = np.asarray(colours)
    if levels.ndim == 2:
        return colours, _where_not(levels == key * STRETCH.get(stored, 1))
    return colours, _where_not((levels == [part >> 8 if stored == "RGB;16B" else part for part in key]).all(axis=2))


def _where_not(hidden: NDArray[np.bool_]) -> Image.Image:
    return Image.fromarray(np.where(hidden, 0, 255).astype(np.uint8))


def _managed(colours: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert the image to sRGB; without a color profile it is assumed to be sRGB."""
    transform = _to_srgb(profile, colours.mode) if profile else None
    if transform is not None:
        return transform.apply(colours)
    return colours if colours.mode == "RGB" else colours.convert("RGB")


@lru_cache(maxsize=8)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Transform from a mode with this profile to sRGB. None if the profile does not apply, or changes no color by more than one level;
    it is then equivalent to sRGB, and the pixels stay unchanged."""
    try:
        source, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        if source.profile.xcolor_space.strip() != SPACES[mode]:
            return None
        transform = ImageCms.ImageCmsTransform(source, srgb, mode, "RGB")
    except (OSError, TypeError, ValueError):
        return None
    bands = Image.new(mode, (1, 1)).getbands()
    grid = np.stack(np.meshgrid(*[PROBE] * len(bands)), axis=-1).reshape(-1, 1, len(bands))
    probe = Image.merge(mode, [Image.fromarray(grid[..., band]) for band in range(len(bands))])
    moved = np.asarray(transform.apply(probe)).astype(int) - np.asarray(probe.convert("RGB"))
    return transform if np.abs(moved).max() > 1 else None


def pixels_sha256(image: Image.Image) -> str:
    """Hex sha256 of a decoded RGB image's size and pixels; equal for files that show the same image."""
    digest = hashlib.sha256(repr((image.height, image.width, 3)).encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def center_square_resize(image: Image.Image, size: int) -> Pixels:
    """Resize the largest center square of the image, with area averaging when it shrinks.

    A square crop keeps the lesion's proportions for any camera, so that a model cannot recognize clinics by their aspect ratio.

    Returns:
        uint8 array of shape (size, size, 3).
    """
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    square = (left, top, left + side, top + side)
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=square), dtype=np.uint8)


def downsample_to(image: Image.Image, resolution: int | None) -> Image.Image:
    """Downsample the image until its center square is `resolution` pixels wide; unchanged if that is not smaller, or None.

    The new pixel grid is aligned with the square, as in `center_square_resize`; less than one new pixel is lost at the image's edges.
    """
    side = min(image.size)
    if resolution is None or resolution >= side:
        return image
    full, pitch = np.array(image.size), side / resolution
    beside = np.floor((full - side) / 2 / pitch).astype(int)
    half = side / 2 + beside * pitch
    box = (*np.maximum(full / 2 - half, 0), *np.minimum(full / 2 + half, full))
    width, height = (int(length) for length in resolution + 2 * beside)
    return image.resize((width, height), Image.Resampling.BILINEAR, box=box)


def jpeg_round_trip(image: Image.Image, quality: int) -> Image.Image:
    """Compress the RGB image as JPEG with Pillow's quality of 1 to 95, and decode it again."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    with Image.open(stream) as compressed:
        return compressed.convert("RGB")


def load_pixels(content: bytes, size: int, resolution: int | None = None) -> Pixels:
    """Decode an image file to the model's input: downsampled to `resolution` if given, then fitted to `size`.

    Args:
        content: the file's bytes.
        size: width and height of the model's input, in pixels.
        resolution: pixels to which the center square is downsampled first, so that all images are equally sharp; None: no
            downsampling.

    Returns:
        uint8 array of shape (size, size, 3).
    """
    return fit(decode(content, required_detail(size, resolution)), size, resolution)


def fit(image: Image.Image, size: int, resolution: int | None) -> Pixels:
    """Fit a decoded image to the model's input, as `load_pixels`; it must have the `required_detail`."""
    return center_square_resize(downsample_to(image, resolution), size)


def load_square_image(content: bytes, size: int, resolution: int | None) -> Image.Image:
    """The image whose square `load_pixels` takes: decoded and downsampled to `resolution`, not cropped, with enough detail for zooming."""
    return downsample_to(decode(content, required_detail(size, resolution)), resolution)


def required_detail(size: int, resolution: int | None) -> int:
    """Pixels that a decoded image's short side must keep for this model size; twice the resolution is enough for downsampling."""
    return DETAIL * size if resolution is None else min(DETAIL * size, 2 * resolution)


def pixel_loader(candidate: Mapping[str, Any]) -> Callable[[bytes], Pixels]:
    """Return `load_pixels` for the model that candidate.json (`candidate`) describes: a function from an image's bytes to pixels."""
    return partial(load_pixels, size=int(candidate["image_size"]), resolution=candidate.get("resolution"))
