"""Opens image files and checks their headers before any pixel is decoded, so that hostile files are rejected cheaply.

Registered models include a copy of it, like images.py.
"""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from components.core.errors import UnreadableImageError

FORMATS: dict[bytes, type[ImageFile]] = {b"\xff\xd8\xff": JpegImageFile, b"\x89PNG\r\n\x1a\n": PngImageFile}
"""Pillow's readers by the first bytes of a file. They are called directly, since `Image.open` opens a JPEG with a second embedded image,
as phones write, as MPO; viewers show the first image."""
MAX_PIXELS = 64_000_000
"""Larger than any dermoscope's image, small enough to decode on a laptop (192 MB as RGB)."""
MAX_METADATA = 16_000_000
"""Maximum bytes before a JPEG's pixels: enough for the largest color profile. Pillow copies EXIF for every segment of it, so more would
take minutes."""
MAX_PADDING = 100_000
"""Maximum bytes between a JPEG's segments, which Pillow skips one by one."""
MAX_PARTS = 5000
"""Maximum segments of a JPEG before its pixels, or chunks of a PNG other than pixels."""
MARKER = re.compile(rb"\xff[\x01-\xfe]")
ALONE = frozenset((0x01, 0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)))
"""JPEG markers without a length field."""
START_OF_SCAN = 0xDA

warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # warnings about corrupt EXIF, which is ignored


def open_header(content: bytes) -> ImageFile:
    """Open an image without decoding it: only its header is read and checked.

    Raises:
        UnreadableImageError: empty, of another format, with a corrupt header, or larger than MAX_PIXELS.
    """
    if not content:
        raise UnreadableImageError("empty file")
    reader = next((reader for beginning, reader in FORMATS.items() if content.startswith(beginning)), None)
    if reader is None:
        raise UnreadableImageError("not a JPEG or PNG image")
    if reader is JpegImageFile:
        _check_segments(content)
    else:
        _check_chunks(content)
    with decoder_errors():
        image = reader(io.BytesIO(content))
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableImageError(f"{image.width} x {image.height} px is more than {MAX_PIXELS:,} pixels")
    return image


def _check_segments(content: bytes) -> None:
    """Reject a JPEG with excessive metadata; other errors are left to the decoder."""
    at, padding, count = 2, 0, 0
    while match := MARKER.search(content, at):
        padding, count = padding + match.start() - at, count + 1
        if padding > MAX_PADDING or match.start() > MAX_METADATA or count > MAX_PARTS:
            raise UnreadableImageError(f"more than {MAX_METADATA:,} bytes or {MAX_PARTS:,} pieces of metadata before the pixels")
        at, kind = match.end(), content[match.end() - 1]
        if kind == START_OF_SCAN:
            return
        if kind not in ALONE:
            at += max(2, int.from_bytes(content[at : at + 2]))
    if len(content) - at > MAX_PADDING:
        raise UnreadableImageError("truncated or corrupt: no pixels")


def _check_chunks(content: bytes) -> None:
    """Reject a PNG with excessive chunks; other errors are left to the decoder."""
    at, count = 8, 0
    while at + 8 <= len(content):
        count += content[at + 4 : at + 8] != b"IDAT"
        if count > MAX_PARTS:
            raise UnreadableImageError(f"more than {MAX_PARTS:,} pieces of metadata")
        at += 12 + int.from_bytes(content[at : at + 4])


@contextmanager
def decoder_errors() -> Iterator[None]:
    """Convert any decoder error to UnreadableImageError, since Pillow does not document which errors corrupt bytes can raise.
    MemoryError is not converted."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as fault:
        raise UnreadableImageError(f"truncated or corrupt: {str(fault) or type(fault).__name__}") from None
