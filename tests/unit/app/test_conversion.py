"""Images of other formats become PNG with the same pixels, or are refused with the way out."""

import io

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from app.data import conversion
from app.data.conversion import converted_format, imported_name, to_png
from components.core.errors import UnreadableImageError
from components.imaging.images import decode
from tests.support.images import encoded, noise

PICTURE = noise(3, 24).resize((24, 16))
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
TURNED = Image.Exif()
TURNED[ExifTags.Base.Orientation] = 6
TURNED[ExifTags.Base.Artist] = "Doe"


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    assert image.format == "PNG"
    image.load()
    return image


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
@pytest.mark.parametrize("image_format", ["BMP", "TIFF"])
def test_png_has_the_same_pixels(mode, image_format):
    image = PICTURE.convert(mode)
    converted = opened(to_png(encoded(image, image_format), image_format))
    assert np.array_equal(np.asarray(converted.convert("RGB")), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_compressed_tiff_and_webp(compression):
    for content, image_format in ((encoded(PICTURE, "TIFF", compression=compression), "TIFF"), (encoded(PICTURE, "WEBP"), "WEBP")):
        expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        assert np.array_equal(np.asarray(opened(to_png(content, image_format))), expected)


@pytest.mark.parametrize("image_format", ["TIFF", "WEBP"])
def test_transparency_is_kept(image_format):
    image = PICTURE.convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    converted = opened(to_png(encoded(image, image_format, lossless=True, exact=True), image_format))
    assert (converted.mode, converted.tobytes()) == ("RGBA", image.tobytes())


@pytest.mark.parametrize("image_format", ["TIFF", "WEBP"])
def test_profile_and_orientation_are_kept_and_other_metadata_is_not(image_format):
    content = encoded(PICTURE, image_format, exif=TURNED, icc_profile=PROFILE, lossless=True)
    png = to_png(content, image_format)
    assert opened(png).info["icc_profile"] == PROFILE
    assert np.array_equal(np.asarray(decode(png)), np.asarray(PICTURE.transpose(Image.Transpose.ROTATE_270)))
    assert not opened(png).getexif()
    assert b"Doe" in content and b"Doe" not in png


def pages(image_format: str) -> bytes:
    return encoded(PICTURE, image_format, save_all=True, append_images=[noise(4, 24).resize((24, 16))])


@pytest.mark.parametrize(
    ("content", "image_format", "message"),
    [
        (pages("TIFF"), "TIFF", "it has 2 pages or frames. Save the right one as PNG"),
        (pages("WEBP"), "WEBP", "it has 2 pages or frames. Save the right one as PNG"),
        (encoded(Image.new("I;16", (8, 8)), "TIFF"), "TIFF", "it has 16 bits per channel. Save it as PNG"),
        (encoded(Image.new("F", (8, 8)), "TIFF"), "TIFF", "it has 32 bits per channel"),
        (encoded(PICTURE.convert("CMYK"), "TIFF"), "TIFF", "its colors are CMYK, which PNG cannot hold"),
        (encoded(PICTURE, "BMP")[:300], "BMP", "truncated or corrupt"),
        (encoded(PICTURE, "TIFF", compression="tiff_lzw")[:300], "TIFF", "truncated or corrupt"),
        (encoded(PICTURE, "WEBP")[:60], "WEBP", "truncated or corrupt"),
        (encoded(PICTURE, "JPEG"), "BMP", "truncated or corrupt"),
        (b"", "TIFF", "truncated or corrupt"),
    ],
)
def test_files_that_cannot_be_converted(content, image_format, message):
    with pytest.raises(UnreadableImageError, match=message):
        to_png(content, image_format)


@pytest.mark.parametrize("image_format", ["BMP", "TIFF", "WEBP"])
def test_image_with_too_many_pixels_is_refused(image_format, monkeypatch):
    monkeypatch.setattr(conversion, "MAX_PIXELS", 100)
    with pytest.raises(UnreadableImageError, match="24 x 16 px is more than 100 pixels"):
        to_png(encoded(PICTURE, image_format), image_format)


def test_names_in_data():
    assert [imported_name(name) for name in ("a.BMP", "b.tiff", "c.jfif", "d.jpg", "e.f.webp")] == [
        "a.png",
        "b.png",
        "c.jpg",
        "d.jpg",
        "e.f.png",
    ]
    assert converted_format("x/a.TIF", "nevus/a.png") == "TIFF"
    assert converted_format("x/a.png", "nevus/a.png") is None
    assert converted_format("licenses/a.tif", "licenses/a.tif") is None
