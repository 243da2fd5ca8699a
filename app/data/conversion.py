"""Converts images of other formats to PNG without loss while they are imported. A file that PNG cannot hold unchanged is refused."""

import io
import struct
from pathlib import PurePosixPath

from PIL import ExifTags, Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from components.core.errors import UnreadableImageError
from components.imaging.headers import MAX_PIXELS, decoder_errors
from components.imaging.images import TURNS

PNG, JPEG = ".png", ".jpg"
CONVERTED = {".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP"}
"""Format by suffix of the files that become PNG."""
RENAMED = {".jfif": "JFIF", ".jpe": "JPE"}
"""Names of JPEG files by suffix; they are copied byte for byte and end in .jpg."""
READERS: dict[str, type[ImageFile]] = {"BMP": BmpImageFile, "TIFF": TiffImageFile, "WEBP": WebPImageFile}
MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA"})
"""Pillow's modes that a PNG of at most 8 bits per channel holds unchanged."""
BITS_PER_SAMPLE = 258
"""TIFF tag."""
SAVE_AS_PNG = "Save it as PNG, and import again"


def imported_name(name: str) -> str:
    """The name of an image file in data/: another suffix if its format is converted or its suffix means JPEG."""
    path = PurePosixPath(name)
    suffix = path.suffix.lower()
    if suffix in CONVERTED:
        return str(path.with_suffix(PNG))
    return str(path.with_suffix(JPEG)) if suffix in RENAMED else name


def converted_format(name: str, target: str) -> str | None:
    """The format from which a member is converted to its target; None if its bytes are copied."""
    own, new = PurePosixPath(name).suffix.lower(), PurePosixPath(target).suffix
    return CONVERTED.get(own) if new == PNG else None


def to_png(content: bytes, image_format: str) -> bytes:
    """Convert an image to PNG: the same pixels, upright by EXIF orientation, with its color profile and no other metadata.

    The header is checked before any pixel is decoded.

    Args:
        content: the file's bytes.
        image_format: a format of READERS.

    Raises:
        UnreadableImageError: another format, corrupt, larger than MAX_PIXELS, with several pages or frames, or with colors that a PNG
            of 8 bits per channel cannot hold. The message is a clause, and names the way out if there is one.
    """
    with decoder_errors():
        image = READERS[image_format](io.BytesIO(content))
    _require_convertible(image)
    with decoder_errors():
        image.load()
        profile, orientation = image.info.get("icc_profile"), exif_orientation(image)
        upright = image.transpose(TURNS[orientation]) if orientation in TURNS else image.copy()
        upright.info = {}
        stream = io.BytesIO()
        upright.save(stream, "PNG", icc_profile=profile)
    return stream.getvalue()


def _require_convertible(image: ImageFile) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableImageError(f"{image.width} x {image.height} px is more than {MAX_PIXELS:,} pixels")
    with decoder_errors():
        frames = getattr(image, "n_frames", 1)
        bits = image.tag_v2.get(BITS_PER_SAMPLE, (1,)) if isinstance(image, TiffImageFile) else (8,)
    if frames > 1:
        raise UnreadableImageError(f"it has {frames} pages or frames. Save the right one as PNG, and import again")
    if max(bits) > 8:
        raise UnreadableImageError(f"it has {max(bits)} bits per channel. {SAVE_AS_PNG}")
    if image.mode not in MODES:
        raise UnreadableImageError(f"its colors are {image.mode}, which PNG cannot hold. {SAVE_AS_PNG}")


def exif_orientation(image: Image.Image) -> int | None:
    """EXIF orientation of an image; None if there is none or EXIF is corrupt. Pillow turns a TIFF upright when it decodes it."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, OverflowError, struct.error):
        return None
