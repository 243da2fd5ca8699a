"""Metadata of images goes, and their pixels stay."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms

from app.data.image_metadata import MAX_SEGMENTS, is_whole, without_metadata
from components.core.errors import UnreadableImageError
from components.imaging.images import decode, decode_with_header
from tests.support.images import encoded, noise
from tests.support.project import ROOT

PICTURE = noise(3, 24).resize((24, 16))
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SECRET = b"Mustermann"
CASES = ROOT.parent / "shared" / "cases"


def exif(orientation: int | None = None) -> Image.Exif:
    """EXIF as a phone writes it: owner, place, serial number, and the orientation if there is one."""
    tags = Image.Exif()
    tags[ExifTags.Base.Artist] = SECRET.decode()
    tags[ExifTags.Base.BodySerialNumber] = f"{SECRET.decode()}-7"
    tags.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (48.0, 12.0, 30.0)
    if orientation is not None:
        tags[ExifTags.Base.Orientation] = orientation
    return tags


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2) + content


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    """The JPEG with these segments after its JFIF header."""
    end = 4 + int.from_bytes(jpeg[4:6])
    return jpeg[:end] + b"".join(segments) + jpeg[end:]


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def before_pixels(png: bytes, *chunks: bytes) -> bytes:
    at = png.index(b"IDAT") - 4
    return png[:at] + b"".join(chunks) + png[at:]


def assert_same_picture(cleaned: bytes, content: bytes) -> None:
    image, header = decode_with_header(content)
    other, other_header = decode_with_header(cleaned)
    assert np.array_equal(np.asarray(other), np.asarray(image))
    assert other_header == header


JPEG, PNG = encoded(PICTURE), encoded(PICTURE, "PNG")
XMP = b"http://ns.adobe.com/xap/1.0/\0<x dc:creator='Mustermann' tiff:Orientation=\"8\"/>"
SECOND = encoded(noise(4, 24), exif=exif())
PERSONAL = {
    "exif": encoded(PICTURE, exif=exif(6)),
    "exif upright": encoded(PICTURE, exif=exif(1)),
    "exif without orientation": encoded(PICTURE, exif=exif()),
    "exif twice": with_segments(encoded(PICTURE, exif=exif(3)), segment(0xE1, b"Exif\0\0" + SECRET)),
    "corrupt exif": with_segments(JPEG, segment(0xE1, b"Exif\0\0" + SECRET)),
    "xmp with orientation": with_segments(JPEG, segment(0xE1, XMP)),
    "iptc": with_segments(JPEG, segment(0xED, b"Photoshop 3.0\0" + SECRET)),
    "comment": encoded(PICTURE, comment=SECRET),
    "preview": with_segments(JPEG, segment(0xE0, b"JFXX\0\x10" + SECRET), segment(0xE2, b"MPF\0" + SECRET)),
    "maker": with_segments(JPEG, *(segment(marker, SECRET) for marker in (*range(0xE3, 0xEE), 0xEF))),
    "second picture": with_segments(JPEG, segment(0xE2, b"MPF\0")) + SECOND,
    "after the end": JPEG + SECRET,
    "between segments": with_segments(JPEG, SECRET),
    "progressive with profile": with_segments(encoded(PICTURE, progressive=True, icc_profile=PROFILE), segment(0xFE, SECRET)),
    "CMYK": with_segments(encoded(PICTURE.convert("CMYK")), segment(0xFE, SECRET)),
    "among scans": JPEG[:-2] + segment(0xFE, SECRET) + JPEG[-2:],
    "PNG text": before_pixels(PNG, chunk(b"tEXt", b"Author\0" + SECRET), chunk(b"tIME", bytes(7)), chunk(b"prVt", SECRET)),
    "PNG text after pixels": PNG[:-12] + chunk(b"zTXt", b"Author\0\0" + zlib.compress(SECRET)) + PNG[-12:],
    "PNG exif": encoded(PICTURE, "PNG", exif=exif(6)),
    "PNG exif after pixels": PNG[:-12] + chunk(b"eXIf", exif(5).tobytes()[6:]) + PNG[-12:],
    "PNG xmp": before_pixels(PNG, chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP[29:])),
    "PNG after the end": PNG + SECRET,
}


@pytest.mark.parametrize("name", PERSONAL)
def test_metadata_goes_and_the_picture_stays(name):
    content = PERSONAL[name]
    cleaned = without_metadata(content)
    assert cleaned != content
    assert SECRET not in cleaned
    assert b"GPS" not in cleaned and zlib.compress(SECRET) not in cleaned
    assert_same_picture(cleaned, content)
    assert without_metadata(cleaned) == cleaned


@pytest.mark.parametrize("content", [JPEG, PNG, encoded(PICTURE, icc_profile=PROFILE), encoded(PICTURE, "PNG", icc_profile=PROFILE)])
def test_files_without_metadata_stay_byte_for_byte(content):
    assert without_metadata(content) == content


@pytest.mark.parametrize("content", [b"", b"old", b"GIF89a", encoded(PICTURE, "BMP")])
def test_other_formats_stay_byte_for_byte(content):
    assert without_metadata(content) == content


def test_profile_stays():
    for image_format in ("JPEG", "PNG"):
        cleaned = without_metadata(encoded(PICTURE, image_format, icc_profile=PROFILE, exif=exif(6)))
        assert Image.open(io.BytesIO(cleaned)).info["icc_profile"] == PROFILE
        assert dict(Image.open(io.BytesIO(cleaned)).getexif()) == {ExifTags.Base.Orientation: 6}


def test_file_of_countless_segments_is_left_to_the_decoder():
    content = JPEG[:2] + b"\xff\x01" * (MAX_SEGMENTS + 1)
    assert without_metadata(content) == content


@given(st.sampled_from(sorted(PERSONAL)), st.integers(0, 3000), st.binary(max_size=4))
def test_corrupt_files_decode_as_before(name, at, noise_bytes):
    """Bytes that are overwritten change neither what the decoder shows nor, where there is no picture, that there is none."""
    content = PERSONAL[name]
    at %= len(content)
    corrupt = content[:at] + noise_bytes + content[at + len(noise_bytes) :]
    try:
        expected = np.asarray(decode(corrupt))
    except UnreadableImageError:
        without_metadata(corrupt)
        return
    assert np.array_equal(np.asarray(decode(without_metadata(corrupt))), expected)


@pytest.mark.parametrize("folder", ["T09", "T11", "T12", "T13"])
def test_pictures_that_people_have(folder):
    if not (CASES / folder).is_dir():
        pytest.skip(f"{CASES / folder} does not exist")
    for path in sorted((CASES / folder).rglob("*")):
        content = path.read_bytes() if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".jfif") else b""
        try:
            decode(content)
        except UnreadableImageError:
            continue
        assert_same_picture(without_metadata(content), content)


@pytest.mark.parametrize(("content", "whole"), [(JPEG, True), (PNG, True), (JPEG[:-1], False), (PNG[:-1], False), (b"", False)])
def test_whole_files(tmp_path: Path, content: bytes, whole: bool):
    (tmp_path / "a").write_bytes(content)
    assert is_whole(tmp_path / "a") == whole
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert not is_whole(tmp_path / "link")
