"""Removes the metadata of JPEG and PNG files, which may identify a person, without touching their pixels.

Decoders need the color profile, the orientation, and the markers that say how colors are stored; these are kept. Everything else goes:
EXIF, XMP, IPTC, comments, previews, a second picture, and bytes after the end.
"""

import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from app.data.conversion import exif_orientation
from components.core.errors import UnreadableImageError
from components.imaging.headers import ALONE, MARKER, START_OF_SCAN, decoder_errors, open_header
from components.imaging.images import TURNS

JPEG_START, PNG_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
JPEG_END, PNG_END = b"\xff\xd9", b"\0\0\0\0IEND\xaeB`\x82"
END_OF_IMAGE, COMMENT, EXIF_MARKER = 0xD9, 0xFE, 0xE1
APPLICATION = range(0xE0, 0xF0)
"""JPEG markers of segments whose content begins with the name of an application."""
KEPT_SEGMENTS = {0xE0: b"JFIF\0", 0xE2: b"ICC_PROFILE\0", 0xEE: b"Adobe"}
"""Beginning of the application segments that are kept, by marker: the first and the last say how colors are stored."""
IN_PIXELS = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""A marker within or after JPEG pixels, other than a restart."""
MAX_SEGMENTS = 100_000
"""More than any decodable JPEG has; a file with more is left as it is."""
EXIF, XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
KEPT_CHUNKS = frozenset(
    b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB iCCP sBIT bKGD hIST pHYs cICP mDCV cLLI acTL fcTL fdAT".split()  # the last three: animation
)
CHUNKS_WITH_ORIENTATION = (b"eXIf", b"tEXtRaw profile type exif", b"zTXtRaw profile type exif", b"iTXtXML:com.adobe.xmp")

Edit = tuple[int, int, bytes]
"""Start, end and replacement of a part of a file."""


def without_metadata(content: bytes) -> bytes:
    """Return an image file without its metadata but color profile and orientation; its pixel data stay byte for byte.

    Args:
        content: the bytes of a file; other formats than JPEG and PNG, and files without such metadata, are returned unchanged.
    """
    if content.startswith(JPEG_START):
        return _edited(content, _clean_jpeg(content))
    return _edited(content, _clean_png(content)) if content.startswith(PNG_START) else content


def is_whole(path: Path) -> bool:
    """Whether a file ends as a JPEG or a PNG does."""
    if path.is_symlink():
        return False
    with path.open("rb") as stream:
        stream.seek(-min(len(PNG_END), path.stat().st_size), 2)
        return stream.read().endswith((JPEG_END, PNG_END))


def _edited(content: bytes, edits: Iterable[Edit]) -> bytes:
    parts, at = [], 0
    for start, end, replacement in sorted(edits):
        parts += [content[at:start], replacement]
        at = end
    return b"".join([*parts, content[at:]]) if parts else content


def _clean_jpeg(content: bytes) -> list[Edit]:
    edits = list(_metadata_of_jpeg(content))
    if any(content[start + 4 : end].startswith((EXIF, XMP)) for start, end, _ in edits) and (exif := _minimal_exif(content)):
        start, end, replacement = edits[0]
        segment = EXIF + exif
        edits[0] = (start, end, b"\xff\xe1" + (len(segment) + 2).to_bytes(2) + segment + replacement)
    return edits


def _metadata_of_jpeg(content: bytes) -> Iterator[Edit]:
    """Edits that remove the metadata. A segment among the pixels is filled with zeros: in a corrupt file it may be pixels by chance, and
    without its bytes the decoder would read the rest in another way."""
    at, before_pixels = 2, True
    for _ in range(MAX_SEGMENTS):
        match = (MARKER if before_pixels else IN_PIXELS).search(content, at)
        if match is None:
            return
        if before_pixels and match.start() > at:
            yield at, match.start(), b""
        at, kind = match.end(), content[match.end() - 1]
        if kind == END_OF_IMAGE:
            if at < len(content):
                yield at, len(content), b""
            return
        if kind in ALONE:
            continue
        at = min(at + max(2, int.from_bytes(content[at : at + 2])), len(content))
        if _is_metadata(kind, content[match.end() + 2 : at]):
            blank = content[match.start() : match.end() + 2] + bytes(max(0, at - match.end() - 2))
            yield match.start(), at, b"" if before_pixels else blank
        before_pixels = before_pixels and kind != START_OF_SCAN


def _is_metadata(kind: int, segment: bytes) -> bool:
    if kind not in APPLICATION:
        return kind == COMMENT
    return kind not in KEPT_SEGMENTS or not segment.startswith(KEPT_SEGMENTS[kind])


def _clean_png(content: bytes) -> list[Edit]:
    edits: list[Edit] = []
    at, pixels, has_orientation = len(PNG_START), None, False
    while at + 8 <= len(content):
        kind, end = content[at + 4 : at + 8], at + 12 + int.from_bytes(content[at : at + 4])
        if kind not in KEPT_CHUNKS:
            has_orientation = has_orientation or content.startswith(CHUNKS_WITH_ORIENTATION, at + 4)
            edits.append((at, min(end, len(content)), b""))
        elif kind == b"IDAT" and pixels is None:
            pixels = at
        at = end
        if kind == b"IEND":
            break
    if at < len(content):
        edits.append((at, len(content), b""))
    if has_orientation and pixels is not None and (exif := _minimal_exif(content)):
        chunk = b"eXIf" + exif
        edits.append((pixels, pixels, len(exif).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4)))
    return edits


def _minimal_exif(content: bytes) -> bytes:
    """EXIF with the image's orientation alone, as the decoder reads it; empty if the image is upright."""
    try:
        image = open_header(content)
        with decoder_errors():
            orientation = exif_orientation(image)
    except UnreadableImageError:
        return b""
    if orientation not in TURNS:
        return b""
    entry = b"\x12\x01\x03\x00\x01\x00\x00\x00" + int(orientation).to_bytes(2, "little") + b"\0\0"
    return b"II*\0\x08\0\0\0\x01\0" + entry + b"\0\0\0\0"
