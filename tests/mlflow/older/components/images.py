"""The one place where bytes become pixels, for training and serving alike."""

import hashlib
import io
import struct
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from components.errors import UnreadableImage

FORMATS = ("JPEG", "PNG")
SUFFIXES = (".jpg", ".jpeg", ".png")
MAX_PIXELS = 64_000_000
"""Larger than any dermoscope's picture, small enough to decode on a clinic's laptop (192 MB as RGB)."""

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # open_checked judges the size itself

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Header:
    """What a file says of itself: its format, Pillow's colour mode before conversion, and its EXIF orientation (1 is upright)."""

    format: str
    mode: str
    orientation: int


def decode(content: bytes) -> Image.Image:
    """Decode a JPEG or PNG to RGB, upright according to its EXIF orientation.

    The header is checked before any pixel is decoded, so a decompression bomb costs nothing.

    Raises:
        UnreadableImage: empty, of another format, too large, truncated or corrupt; the message says which.
    """
    return decode_with_header(content)[0]


def decode_with_header(content: bytes) -> tuple[Image.Image, Header]:
    """As `decode`, with what the header says."""
    image: Image.Image = open_checked(content)
    try:
        image.load()
        header = Header(str(image.format), image.mode, int(image.getexif().get(ExifTags.Base.Orientation, 1)))
        if header.orientation != 1:
            ImageOps.exif_transpose(image, in_place=True)
        return image if image.mode == "RGB" else image.convert("RGB"), header
    except (OSError, SyntaxError, ValueError, TypeError, EOFError, OverflowError, struct.error) as fault:
        raise UnreadableImage(f"truncated or corrupt: {fault}") from None


def open_checked(content: bytes) -> Image.Image:
    """Open an image without decoding it: only its header is read and judged.

    Raises:
        UnreadableImage: empty, of another format, or larger than MAX_PIXELS.
    """
    if not content:
        raise UnreadableImage("empty file")
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError:
        raise UnreadableImage(f"more than {MAX_PIXELS:,} pixels") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError):
        raise UnreadableImage("not a JPEG or PNG image") from None
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableImage(f"{image.width} x {image.height} px is more than {MAX_PIXELS:,} pixels")
    return image


def pixels_sha256(image: Image.Image) -> str:
    """Hex sha256 of a decoded RGB image's pixels: what tells whether two files show the same picture."""
    digest = hashlib.sha256(repr((image.height, image.width, 3)).encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def fit(image: Image.Image, size: int) -> Pixels:
    """The largest centred square of the image, area-averaged where it shrinks.

    A square keeps the lesion's proportions whatever the camera's, so that a model cannot tell clinics apart by how they are squeezed.

    Returns:
        uint8 array of shape (size, size, 3).
    """
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    square = (left, top, left + side, top + side)
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=square), dtype=np.uint8)


def recompressed(image: Image.Image, quality: int) -> Image.Image:
    """The RGB image after it was saved as a JPEG, at Pillow's quality of 1 to 95."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    with Image.open(stream) as compressed:
        return compressed.convert("RGB")


def read(content: bytes, size: int) -> Pixels:
    """Decode and fit: what the model sees of an image, as a uint8 array of shape (size, size, 3)."""
    return fit(decode(content), size)
