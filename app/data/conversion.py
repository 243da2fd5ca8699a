"""Converts images of other formats to PNG without loss while they are imported. A file that PNG cannot hold unchanged is refused.

HEIC and DICOM need the optional packages pillow-heif and pydicom.
"""

import io
import struct
from importlib.util import find_spec
from pathlib import PurePosixPath

from PIL import ExifTags, Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from app.data.dicom import read_image
from components.core.errors import UnreadableImageError
from components.imaging.headers import MAX_PIXELS, decoder_errors
from components.imaging.images import TURNS

PNG, JPEG = ".png", ".jpg"
CONVERTED = {".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP"}
"""Format by suffix of the files that become PNG."""
OPTIONAL = {".heic": "HEIC", ".heif": "HEIC", ".dcm": "DICOM", ".dicom": "DICOM"}
"""Format by suffix of the files that become PNG, or JPEG if they hold one, where an optional package is installed."""
DICOM = tuple(suffix for suffix, image_format in OPTIONAL.items() if image_format == "DICOM")
PACKAGES = {"HEIC": "pillow-heif", "DICOM": "pydicom"}
"""Package that reads each optional format."""
RENAMED = {".jfif": "JFIF", ".jpe": "JPE"}
"""Names of JPEG files by suffix; they are copied byte for byte and end in .jpg."""
READERS: dict[str, type[ImageFile]] = {"BMP": BmpImageFile, "TIFF": TiffImageFile, "WEBP": WebPImageFile}
MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA"})
"""Pillow's modes that a PNG of at most 8 bits per channel holds unchanged."""
BITS_PER_SAMPLE = 258
"""TIFF tag."""
SAVE_AS_PNG = "Save it as PNG, and import again"


def is_installed(image_format: str) -> bool:
    """Whether the package that reads an optional format is installed."""
    return find_spec(PACKAGES[image_format].replace("-", "_")) is not None


def imported_name(name: str, holds_jpeg: bool = False) -> str:
    """The name of an image file in data/: another suffix if its format is converted or its suffix means JPEG.

    Args:
        name: its name in the source.
        holds_jpeg: whether it is a DICOM file with a JPEG.
    """
    path = PurePosixPath(name)
    suffix = path.suffix.lower()
    if holds_jpeg:
        return str(path.with_suffix(JPEG))
    if suffix in CONVERTED or suffix in OPTIONAL:
        return str(path.with_suffix(PNG))
    return str(path.with_suffix(JPEG)) if suffix in RENAMED else name


def converted_format(name: str, target: str) -> str | None:
    """The format from which a member is converted to its target; None if its bytes are copied."""
    own, new = PurePosixPath(name).suffix.lower(), PurePosixPath(target).suffix
    if own in OPTIONAL and new in (PNG, JPEG):
        return OPTIONAL[own]
    return CONVERTED.get(own) if new == PNG else None


def convert(content: bytes, image_format: str) -> bytes:
    """Convert an image of a format of CONVERTED or OPTIONAL to PNG; the JPEG in a DICOM file is returned byte for byte.

    Raises:
        UnreadableImageError: see `to_png` and `dicom.read_image`.
    """
    return read_image(content) if image_format == "DICOM" else to_png(content, image_format)


def open_heic(content: bytes) -> ImageFile:
    """Open a HEIC image without decoding it.

    Raises:
        UnreadableImageError: another format, or corrupt.
    """
    from pillow_heif import HeifImageFile

    with decoder_errors():
        image: ImageFile = HeifImageFile(io.BytesIO(content))
    return image


def to_png(content: bytes, image_format: str) -> bytes:
    """Convert an image to PNG: the same pixels, upright by EXIF orientation, with its color profile and no other metadata.

    The header is checked before any pixel is decoded.

    Args:
        content: the file's bytes.
        image_format: a format of READERS, or HEIC.

    Raises:
        UnreadableImageError: another format, corrupt, larger than MAX_PIXELS, with several pages or frames, or with colors that a PNG
            of 8 bits per channel cannot hold. The message is a clause, and names the way out if there is one.
    """
    if image_format == "HEIC":
        image = open_heic(content)
    else:
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
        bits = image.tag_v2.get(BITS_PER_SAMPLE, (1,)) if isinstance(image, TiffImageFile) else (image.info.get("bit_depth", 8),)
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
