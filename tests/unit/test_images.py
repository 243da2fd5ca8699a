import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from components import images
from components.errors import UnreadableImage
from tests.conftest import noise


def encoded(image: Image.Image, form: str = "JPEG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0" * 64))]
    body = b"".join(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"just some text", "not a JPEG or PNG image"),
        (encoded(noise(1), "GIF"), "not a JPEG or PNG image"),
        (encoded(noise(1))[:-200], "truncated or corrupt"),
        (encoded(noise(1), "PNG")[:-500], "truncated or corrupt"),
        (png_header(30_000, 30_000), "pixels"),
        (png_header(100_000, 100_000), "pixels"),
    ],
    ids=["empty", "text", "gif", "truncated jpeg", "truncated png", "30,000 px", "100,000 px"],
)
def test_what_is_no_acceptable_image_says_why(content, reason):
    with pytest.raises(UnreadableImage, match=reason):
        images.decode(content)


@given(st.binary(max_size=400))
def test_any_bytes_decode_or_are_called_unreadable(content):
    try:
        images.decode(content)
    except UnreadableImage as fault:
        assert str(fault)


@given(st.data())
def test_a_damaged_jpeg_decodes_or_is_called_unreadable(data):
    content = bytearray(encoded(noise(3)))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert images.decode(bytes(content)).mode == "RGB"
    except UnreadableImage as fault:
        assert str(fault)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_every_colour_mode_becomes_rgb(mode):
    form = "JPEG" if mode == "CMYK" else "PNG"
    assert images.read(encoded(noise(2).convert(mode), form), 32).shape == (32, 32, 3)


def test_exif_orientation_is_applied():
    wide = noise(4).resize((60, 30))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    assert images.decode(encoded(wide, exif=exif)).size == (30, 60)


def test_fit_keeps_the_largest_centred_square():
    left_white = Image.new("RGB", (100, 50), (0, 255, 0))
    left_white.paste((255, 255, 255), (25, 0, 50, 50))
    left_white.paste((0, 0, 0), (50, 0, 75, 50))
    fitted = images.fit(left_white, 20)
    assert fitted.dtype == np.uint8
    assert fitted[:, 1:8].min() == 255
    assert fitted[:, 12:19].max() == 0
