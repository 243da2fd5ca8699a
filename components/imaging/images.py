"""The one place where bytes become pixels, for training and serving alike: as a colour-managed viewer shows them, on white.

It stands alone, but for errors.py: registered models carry it with them.
"""

import hashlib
import io
import re
import struct
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from components.core.errors import UnreadableImage

FORMATS: dict[bytes, type[ImageFile]] = {b"\xff\xd8\xff": JpegImageFile, b"\x89PNG\r\n\x1a\n": PngImageFile}
"""Pillow's readers by how a file begins. Asked directly, since `Image.open` calls a JPEG with a second picture inside, as phones
write them, MPO; viewers show its first."""
SUFFIXES = (".jpg", ".jpeg", ".png")
MAX_PIXELS = 64_000_000
"""Larger than any dermoscope's picture, small enough to decode on a clinic's laptop (192 MB as RGB)."""
MAX_METADATA = 16_000_000
"""Bytes before a JPEG's pixels: a profile of the largest size there is. Pillow copies EXIF anew for every piece of it, so more takes
minutes."""
MAX_PADDING = 100_000
"""Bytes between a JPEG's segments, which Pillow skips one by one."""
MAX_PARTS = 5000
"""Segments of a JPEG before its pixels, or chunks of a PNG other than pixels."""
MARKER = re.compile(rb"\xff[\x01-\xfe]")
ALONE = frozenset((0x01, 0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)))
"""Markers of a JPEG that no length follows."""
START_OF_SCAN = 0xDA
DETAIL = 4
"""A JPEG is decoded at a half, a quarter or an eighth of its size where its short side keeps this many times the model's side. Four is
the largest zoom of an augmented view: none is blown up for it, and up to a zoom of two a view has twice the pixels it needs."""
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
"""What turns a picture of each EXIF orientation upright."""
STRETCH = {"L;2": 85, "L;4": 17}
"""Pillow stretches grey levels of 2 and 4 bits to 8, but not the level that a PNG calls transparent."""
SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
"""The colour space that a profile must be of to say what the levels of a mode mean."""

PROBE = np.linspace(0, 255, 9).astype(np.uint8)
"""Levels of each channel whose combinations say whether a profile changes anything."""

warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # of broken EXIF, which is ignored

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Header:
    """What a file says of itself: JPEG or PNG, Pillow's colour mode before conversion, and its EXIF orientation (1 is upright)."""

    format: str
    mode: str
    orientation: int


def decode(content: bytes, least: int | None = None) -> Image.Image:
    """Decode a JPEG or PNG to RGB as a viewer shows it: upright by its EXIF orientation, in sRGB by its colour profile, on white.

    A profile that is broken, or of another colour space than the picture, is ignored, as viewers do, and so is broken EXIF. Sixteen
    bits a channel become eight. The header is checked before any pixel is decoded, so a decompression bomb costs nothing.

    Args:
        content: the file's bytes.
        least: pixels that the short side must keep; a JPEG of at least twice that is decoded at a half, a quarter or an eighth of its
            size, which costs a fraction. None: in full.

    Raises:
        UnreadableImage: empty, of another format, too large, truncated or corrupt; the message says which.
    """
    return decode_with_header(content, least)[0]


def decode_with_header(content: bytes, least: int | None = None) -> tuple[Image.Image, Header]:
    """As `decode`, with what the header says."""
    image = open_checked(content)
    with _refusing():
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


def open_checked(content: bytes) -> ImageFile:
    """Open an image without decoding it: only its header is read and judged.

    Raises:
        UnreadableImage: empty, of another format, broken in its header, or larger than MAX_PIXELS.
    """
    if not content:
        raise UnreadableImage("empty file")
    reader = next((reader for beginning, reader in FORMATS.items() if content.startswith(beginning)), None)
    if reader is None:
        raise UnreadableImage("not a JPEG or PNG image")
    if reader is JpegImageFile:
        _check_segments(content)
    else:
        _check_chunks(content)
    with _refusing():
        image = reader(io.BytesIO(content))
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableImage(f"{image.width} x {image.height} px is more than {MAX_PIXELS:,} pixels")
    return image


def _check_segments(content: bytes) -> None:
    """Refuse a JPEG whose metadata is without end; what is broken is left for the decoder to say."""
    at, padding, count = 2, 0, 0
    while found := MARKER.search(content, at):
        padding, count = padding + found.start() - at, count + 1
        if padding > MAX_PADDING or found.start() > MAX_METADATA or count > MAX_PARTS:
            raise UnreadableImage(f"more than {MAX_METADATA:,} bytes or {MAX_PARTS:,} pieces of metadata before the pixels")
        at, kind = found.end(), content[found.end() - 1]
        if kind == START_OF_SCAN:
            return
        if kind not in ALONE:
            at += max(2, int.from_bytes(content[at : at + 2]))
    if len(content) - at > MAX_PADDING:
        raise UnreadableImage("truncated or corrupt: no pixels")


def _check_chunks(content: bytes) -> None:
    """Refuse a PNG of more parts than any program writes; what is broken is left for the decoder to say."""
    at, count = 8, 0
    while at + 8 <= len(content):
        count += content[at + 4 : at + 8] != b"IDAT"
        if count > MAX_PARTS:
            raise UnreadableImage(f"more than {MAX_PARTS:,} pieces of metadata")
        at += 12 + int.from_bytes(content[at : at + 4])


@contextmanager
def _refusing() -> Iterator[None]:
    """Any error of a decoder is the file's: what hostile bytes make Pillow raise is in no list. Memory that is short is not its fault."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as fault:
        raise UnreadableImage(f"truncated or corrupt: {str(fault) or type(fault).__name__}") from None


def _stored(image: ImageFile) -> str:
    """How samples are stored, in Pillow's words, before they are decoded: "L;4" is grey of four bits."""
    args = image.tile[0].args
    return str(args[0] if isinstance(args, tuple) else args)


def _orientation(image: ImageFile) -> int:
    try:
        found = image.getexif().get(ExifTags.Base.Orientation)
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, OverflowError, struct.error):
        return UPRIGHT
    return int(found) if found in TURNS else UPRIGHT


def _colours_and_opacity(image: Image.Image, stored: str) -> tuple[Image.Image, Image.Image | None]:
    """The picture as L, RGB or CMYK of 8 bits, and its opacity as L, None where it hides nothing."""
    key = image.info.get("transparency")
    if image.mode in ("LA", "RGBA") or (image.mode == "P" and key is not None):
        *bands, opacity = (image.convert("RGBA") if image.mode == "P" else image).split()
        return Image.merge("L" if len(bands) == 1 else "RGB", bands), opacity
    if image.mode == "I;16":
        levels = np.asarray(image)
        colours = Image.fromarray((levels >> 8).astype(np.uint8))  # the high byte, as Pillow reads colours of 16 bits
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
    """The picture in sRGB; without a profile that says otherwise it is taken to be that already."""
    transform = _to_srgb(profile, colours.mode) if profile else None
    if transform is not None:
        return transform.apply(colours)
    return colours if colours.mode == "RGB" else colours.convert("RGB")


@lru_cache(maxsize=8)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """What takes levels of a mode to sRGB, or None where the profile does not tell, or moves no colour by more than a level: it is sRGB
    by another name, and the picture stays byte for byte what it is without it."""
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


def reduced(image: Image.Image, wanted: int | None) -> Image.Image:
    """The image averaged down until its centred square is `wanted` pixels wide, or as it is where that is no smaller or None.

    The grid of new pixels is laid on the square, as `fit` lays it; less than one new pixel is lost at the image's edges.
    """
    side = min(image.size)
    if wanted is None or wanted >= side:
        return image
    full, pitch = np.array(image.size), side / wanted
    beside = np.floor((full - side) / 2 / pitch).astype(int)
    half = side / 2 + beside * pitch
    box = (*np.maximum(full / 2 - half, 0), *np.minimum(full / 2 + half, full))
    width, height = (int(length) for length in wanted + 2 * beside)
    return image.resize((width, height), Image.Resampling.BILINEAR, box=box)


def recompressed(image: Image.Image, quality: int) -> Image.Image:
    """The RGB image after it was saved as a JPEG, at Pillow's quality of 1 to 95."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    with Image.open(stream) as compressed:
        return compressed.convert("RGB")


def read(content: bytes, size: int, resolution: int | None = None) -> Pixels:
    """What the model sees of an image file: the decoded picture, at one resolution where the model asks for it, fitted.

    Args:
        content: the file's bytes.
        size: side of what the model sees, in pixels.
        resolution: what the centred square is averaged down to first, in pixels, so that no picture is sharper than another; None: as
            sharp as it comes.

    Returns:
        uint8 array of shape (size, size, 3).
    """
    return fit(picture(content, size, resolution), size)


def picture(content: bytes, size: int, resolution: int | None) -> Image.Image:
    """What `read` fits: the decoded picture, whole, at the resolution asked for and with the detail that zooming in shows."""
    return reduced(decode(content, detail(size, resolution)), resolution)


def detail(size: int, resolution: int | None) -> int:
    """Pixels that a decoded picture's short side must keep for a model of that size: twice the resolution is enough for averaging."""
    return DETAIL * size if resolution is None else min(DETAIL * size, 2 * resolution)


def reader(card: Mapping[str, Any]) -> Callable[[bytes], Pixels]:
    """What the model that candidate.json describes sees of an image's bytes, as `read` gives it."""
    return partial(read, size=int(card["image_size"]), resolution=card.get("resolution"))
