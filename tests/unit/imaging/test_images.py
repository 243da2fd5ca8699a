import io
import itertools
import struct
import time
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms, ImageOps

from components.core.errors import UnreadableImageError
from components.imaging import images
from tests.support.images import encoded, noise, png_header, textured

TO_XYZ = {  # from linear RGB, relative to the D50 white point of ICC (Lindbloom, http://www.brucelindbloom.com)
    "sRGB": [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]],
    "Adobe RGB": [[0.6097559, 0.2052401, 0.1492240], [0.3111242, 0.6256560, 0.0632197], [0.0194811, 0.0608902, 0.7448387]],
}
ADOBE_GAMMA = 2.19921875
D50 = (0.9642, 1, 0.8249)


def png(width: int, height: int, depth: int, color_type: int, rows: list[bytes], **chunks: bytes) -> bytes:
    """A PNG of any bit depth and color type from rows of packed samples; `chunks` precede the pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    all_chunks = [(b"IHDR", header), *((name.encode(), data) for name, data in chunks.items())]
    all_chunks += [(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in all_chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def packed(levels: np.ndarray, depth: int) -> list[bytes]:
    """Rows of samples of `depth` bits, each 0 to 2^depth - 1."""
    if depth >= 8:
        return [row.astype(f">u{depth // 8}").tobytes() for row in levels]
    bits = (levels[..., None] >> np.arange(depth)[::-1] & 1).astype(np.uint8)
    return [np.packbits(row.reshape(-1)).tobytes() for row in bits]


def profile(space: bytes, tags: dict[bytes, bytes], pcs: bytes = b"XYZ ") -> bytes:
    """An ICC profile of version 2 with these tags."""
    table, body, offset = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I4sI4s4s4s12s4s", offset + len(body), b"none", 0x02400000, b"mntr", space, pcs, bytes(12), b"acsp")
    return header.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061) + bytes(48) + table + body


def xyz(values: object) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))


def tone_curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))


def linear_gray_profile() -> bytes:
    return profile(b"GRAY", {b"wtpt": xyz(D50), b"kTRC": tone_curve(1.0)})


def cmyk_profile() -> bytes:
    """A CMYK profile with inverted inks: L* increases with their mean, and the hue is neutral."""
    ramp = bytes(range(256))
    corners = [bytes([255 * sum(ink) // 4, 128, 128]) for ink in itertools.product((0, 1), repeat=4)]
    identity = struct.pack(">9i", *(65536 if index % 4 == 0 else 0 for index in range(9)))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + ramp * 4 + b"".join(corners) + ramp * 3
    return profile(b"CMYK", {b"wtpt": xyz(D50), b"A2B0": table}, pcs=b"Lab ")


def adobe_profile() -> bytes:
    colorants = np.transpose(TO_XYZ["Adobe RGB"])
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), tone_curve(ADOBE_GAMMA))
    white = {b"wtpt": xyz(D50)}
    return profile(b"RGB ", white | dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(xyz, colorants), strict=True)) | curves)


def to_adobe_rgb(image: Image.Image) -> Image.Image:
    """The sRGB image with its colors encoded in Adobe RGB."""
    levels = np.asarray(image) / 255
    light = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    adobe_light = light @ np.transpose(np.linalg.inv(TO_XYZ["Adobe RGB"]) @ TO_XYZ["sRGB"])
    return Image.fromarray(np.rint(np.clip(adobe_light, 0, 1) ** (1 / ADOBE_GAMMA) * 255).astype(np.uint8))


def to_cmyk(image: Image.Image) -> Image.Image:
    """The image as CMYK without black, for decoding without a profile."""
    return Image.merge("CMYK", [*(band.point(lambda level: 255 - level) for band in image.split()), Image.new("L", image.size)])


def max_difference(first: Image.Image, second: Image.Image) -> int:
    assert (first.mode, second.mode, first.size) == ("RGB", "RGB", second.size)
    return int(np.abs(np.asarray(first).astype(int) - np.asarray(second)).max())


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
def test_decode_error_explains_why_image_is_rejected(content, reason):
    with pytest.raises(UnreadableImageError, match=reason):
        images.decode(content)


@given(st.binary(max_size=400))
def test_decode_of_random_bytes_raises_only_unreadable_image_error(content):
    try:
        images.decode(content)
    except UnreadableImageError as error:
        assert str(error)


@given(st.data())
def test_decode_of_damaged_jpeg_raises_only_unreadable_image_error(data):
    content = bytearray(encoded(noise(3)))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert images.decode(bytes(content)).mode == "RGB"
    except UnreadableImageError as error:
        assert str(error)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_load_pixels_converts_every_color_mode_to_rgb(mode):
    image_format = "JPEG" if mode == "CMYK" else "PNG"
    assert images.load_pixels(encoded(noise(2).convert(mode), image_format), 32).shape == (32, 32, 3)


def test_decode_applies_exif_orientation():
    assert images.decode(encoded(noise(4).resize((60, 30)), exif=exif_with_orientation(6))).size == (30, 60)


def test_decode_reads_multi_picture_jpeg_as_jpeg():
    stream = io.BytesIO()
    textured(1).save(stream, "MPO", save_all=True, append_images=[textured(2)], quality=95)
    content = stream.getvalue()
    with Image.open(io.BytesIO(content)) as multi_picture:
        assert multi_picture.format == "MPO"
    image, header = images.decode_with_header(content)
    assert (header.format, header.mode) == ("JPEG", "RGB")
    assert max_difference(image, images.decode(encoded(textured(1), quality=95))) == 0


def gray_cases():
    """Gray PNG images of every bit depth: name, file, expected image."""
    for depth in (1, 2, 4, 8, 16):
        max_level = 2**depth - 1
        levels = np.asarray(textured(3).convert("L").resize((61, 40)), dtype=int) * max_level // 255
        expected = Image.fromarray((levels * 255 // max_level).astype(np.uint8)).convert("RGB")
        yield f"gray {depth}", png(61, 40, depth, 0, packed(levels, depth)), expected
        key = int(levels[0, 0])
        expected_with_key = np.where((levels == key)[..., None], 255, np.asarray(expected)).astype(np.uint8)
        yield (
            f"gray {depth}, one transparent level",
            png(61, 40, depth, 0, packed(levels, depth), tRNS=struct.pack(">H", key)),
            expected_with_key,
        )
    yield "gray 16, constant level", png(61, 40, 16, 0, packed(np.full((40, 61), 0x8123), 16)), np.full((40, 61, 3), 0x81, np.uint8)


def deep_cases():
    """PNG images with 16 bits per channel, with and without an alpha channel: name, file, expected image."""
    image = textured(4, 61, 40)
    levels = np.asarray(image, dtype=int) * 257
    opacity = np.full((40, 61, 1), 65535)
    opacity[:20] = 0
    on_white = np.asarray(image).copy()
    on_white[:20] = 255
    yield "rgb 16", png(61, 40, 16, 2, packed(levels.reshape(40, -1), 16)), image
    yield "rgba 16", png(61, 40, 16, 6, packed(np.concatenate([levels, opacity], 2).reshape(40, -1), 16)), on_white
    gray = np.asarray(image.convert("L"), dtype=int)[..., None]
    expected_gray = np.where(opacity == 0, 255, gray).repeat(3, axis=2).astype(np.uint8)
    yield "la 16", png(61, 40, 16, 4, packed(np.concatenate([gray * 257, opacity], 2).reshape(40, -1), 16)), expected_gray
    levels[3, 5], key = (0x1234, 0x5678, 0x9ABC), struct.pack(">3H", 0x1234, 0x5678, 0x9ABC)
    expected_with_key = np.asarray(image).copy()
    expected_with_key[3, 5] = 255
    yield "rgb 16, one transparent color", png(61, 40, 16, 2, packed(levels.reshape(40, -1), 16), tRNS=key), expected_with_key


def shallow_cases():
    """PNG images with at most 8 bits per channel: name, file, expected image."""
    image = textured(5, 61, 40)
    palette = image.quantize(16)
    expected, transparent_index = palette.convert("RGB"), 3
    yield "palette", encoded(palette, "PNG"), expected
    expected_with_transparency = np.where((np.asarray(palette) == transparent_index)[..., None], 255, np.asarray(expected)).astype(np.uint8)
    yield "palette, one transparent color", encoded(palette, "PNG", transparency=transparent_index), expected_with_transparency
    expected_half = np.where((np.asarray(palette) == 0)[..., None], np.asarray(expected) // 2 + 128, np.asarray(expected)).astype(np.uint8)
    yield "palette, one half-transparent color", encoded(palette, "PNG", transparency=bytes([128, 255])), expected_half
    mask = Image.new("L", image.size, 255)
    mask.paste(0, (0, 0, 30, 40))
    on_white = Image.composite(image, Image.new("RGB", image.size, "white"), mask)
    masked = image.copy()
    masked.putalpha(mask)
    yield "rgba", encoded(masked, "PNG"), on_white
    opaque = image.copy()
    opaque.putalpha(255)
    yield "rgba, opaque", encoded(opaque, "PNG"), image
    gray = image.convert("L")
    gray.putalpha(mask)
    yield (
        "la",
        encoded(gray, "PNG"),
        Image.composite(image.convert("L").convert("RGB"), Image.new("RGB", image.size, "white"), mask),
    )
    key = image.getpixel((0, 0))
    expected_with_key = np.where((np.asarray(image) == key).all(axis=2, keepdims=True), 255, np.asarray(image)).astype(np.uint8)
    yield "rgb, one transparent color", encoded(image, "PNG", transparency=key), expected_with_key


def color_cases():
    """Images in color spaces other than sRGB: name, file, expected image."""
    image = noise(6).point(lambda level: 60 + level // 2)
    adobe, cmyk = to_adobe_rgb(image), to_cmyk(image)
    yield "adobe rgb", encoded(adobe, "PNG", icc_profile=adobe_profile()), image
    decoded = images.decode(encoded(adobe, quality=95))
    yield (
        "adobe rgb jpeg",
        encoded(adobe, quality=95, icc_profile=adobe_profile()),
        images.decode(encoded(decoded, "PNG", icc_profile=adobe_profile())),
    )
    half_transparent = adobe.copy()
    half_transparent.putalpha(128)
    on_white = np.rint(np.asarray(image) * (128 / 255) + 127).astype(np.uint8)
    yield "adobe rgb, half-transparent", encoded(half_transparent, "PNG", icc_profile=adobe_profile()), on_white
    palette = adobe.quantize(64)
    yield (
        "adobe rgb palette",
        encoded(palette, "PNG", icc_profile=adobe_profile()),
        images.decode(encoded(palette.convert("RGB"), "PNG", icc_profile=adobe_profile())),
    )
    linear = np.asarray(image.convert("L")) / 255
    expected_gray = np.rint(255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)).astype(np.uint8)
    yield (
        "gray, linear profile",
        encoded(image.convert("L"), "PNG", icc_profile=linear_gray_profile()),
        expected_gray[..., None].repeat(3, axis=2),
    )
    yield "cmyk", encoded(cmyk, quality=100, subsampling=0), image
    no_curves = profile(b"RGB ", {b"wtpt": xyz(D50)})
    for name, broken_profile in {"not a profile": b"none" * 50, "truncated": adobe_profile()[:150], "without curves": no_curves}.items():
        yield f"profile: {name}", encoded(image, "PNG", icc_profile=broken_profile), image
    yield "profile: gray profile for RGB", encoded(image, "PNG", icc_profile=linear_gray_profile()), image
    yield (
        "profile: RGB profile for gray",
        encoded(image.convert("L"), "PNG", icc_profile=adobe_profile()),
        image.convert("L").convert("RGB"),
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(content, expected, id=name)
        for cases in (gray_cases, deep_cases, shallow_cases, color_cases)
        for name, content, expected in cases()
    ],
)
def test_decode_matches_color_managed_viewer_on_white(content, expected):
    assert max_difference(images.decode(content), Image.fromarray(np.asarray(expected))) <= 2


def test_decode_is_unchanged_by_srgb_profile():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert images.decode(encoded(noise(6), "PNG", icc_profile=srgb)).tobytes() == noise(6).tobytes()


def test_decode_applies_cmyk_profile():
    cmyk = to_cmyk(noise(6))
    plain = images.decode(encoded(cmyk, quality=100, subsampling=0))
    negative = images.decode(encoded(cmyk, quality=100, subsampling=0, icc_profile=cmyk_profile()))
    assert max_difference(negative, plain.point(lambda level: 255 - level)) > 20  # L* is not a plain negative
    lightness = [np.asarray(image.convert("L"), dtype=float).ravel() for image in (negative, plain)]
    assert np.corrcoef(*lightness)[0, 1] < -0.5


def test_adobe_rgb_image_looks_dull_without_its_profile():
    assert max_difference(images.decode(encoded(to_adobe_rgb(noise(6)), "PNG")), noise(6)) > 8


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 40, "subsampling": 2}, {"restart_marker_rows": 1}])
def test_decode_of_rgb_jpeg_equals_pillow(options):
    content = encoded(textured(7, 203, 151), **options)
    with Image.open(io.BytesIO(content)) as plain:
        assert images.decode(content).tobytes() == plain.tobytes()
        assert images.load_pixels(content, 96).tobytes() == images.center_square_resize(plain, 96).tobytes()


def exif_with_orientation(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


@pytest.mark.parametrize("orientation", range(1, 9))
def test_decode_orients_image_like_pillow(orientation):
    for image_format in ("JPEG", "PNG"):
        content = encoded(textured(8, 60, 30), image_format, exif=exif_with_orientation(orientation))
        with Image.open(io.BytesIO(content)) as stored:
            assert images.decode(content).tobytes() == ImageOps.exif_transpose(stored).tobytes()
        assert images.decode_with_header(content)[1].orientation == orientation


@pytest.mark.parametrize("orientation", [0, 9, 300])
def test_decode_ignores_invalid_orientation(orientation):
    image, header = images.decode_with_header(encoded(textured(8, 60, 30), exif=exif_with_orientation(orientation)))
    assert (image.size, header.orientation) == ((60, 30), 1)


def with_segment(content: bytes, marker: int, data: bytes) -> bytes:
    """The JPEG with an additional segment at its beginning."""
    return content[:2] + struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data + content[2:]


def test_decode_ignores_broken_exif_and_mpf_without_warning():
    plain = encoded(textured(9))
    # A directory that contains itself.
    recursive_exif = b"Exif\0\0MM\0*" + struct.pack(">IHHHII", 8, 1, 0x8769, 4, 1, 8) + struct.pack(">I", 8)
    with warnings.catch_warnings(record=True) as caught_warnings:
        for data, marker in (
            (b"Exif\0\0II*\0\xff\xff", 0xE1),
            (b"Exif\0\0" + b"\xff" * 60, 0xE1),
            (recursive_exif, 0xE1),
            (b"MPF\0" + b"\1" * 40, 0xE2),
        ):
            assert max_difference(images.decode(with_segment(plain, marker, data)), images.decode(plain)) == 0
    assert not caught_warnings


def test_decode_handles_excessive_metadata_in_bounded_time():
    plain = encoded(textured(9))
    segment = with_segment(plain, 0xE1, b"Exif\0\0" + bytes(65000))[2:65012]
    long_metadata = plain[:2] + segment * 100 + plain[2:]
    excessive = {
        "exif": plain[:2] + segment * 260 + plain[2:],
        "empty segments": plain[:2] + b"\xff\xe5\0\2" * 6000 + plain[2:],
        "zeros": plain[:20] + bytes(200_000) + plain[20:],
        "fill bytes": plain[:20] + b"\xff" * 200_000 + plain[20:],
        "zeros to the end": plain[:20] + bytes(200_000),
        "chunks": png(4, 4, 8, 2, [bytes(12)] * 4)[:33] + (bytes(4) + b"teXt" + struct.pack(">I", zlib.crc32(b"teXt"))) * 6000,
    }
    profile_bomb = png(4, 4, 8, 2, [bytes(12)] * 4, iCCP=b"name\0\0" + zlib.compress(bytes(5_000_000)))
    start = time.process_time()
    assert max_difference(images.decode(long_metadata), images.decode(plain)) == 0
    with pytest.raises(UnreadableImageError, match="too large"):
        images.decode(profile_bomb)
    for content in excessive.values():
        with pytest.raises(UnreadableImageError, match=r"metadata|truncated"):
            images.decode(content)
    assert time.process_time() - start < 4


MUTATION_SEEDS = [
    encoded(noise(3)),
    encoded(noise(3), exif=exif_with_orientation(6), icc_profile=adobe_profile(), progressive=True),
    encoded(to_cmyk(noise(3))),
    encoded(noise(3).quantize(16), "PNG", transparency=3),
    encoded(noise(3), "PNG", icc_profile=adobe_profile()),
    png(8, 8, 16, 0, packed(np.full((8, 8), 40_000), 16), tRNS=b"\1\2", eXIf=b"MM\0*\0\0\0\x08\0\0"),
    next(content for name, content, _ in deep_cases() if name == "rgba 16"),
]


@given(st.data(), st.sampled_from(range(len(MUTATION_SEEDS))))
def test_decode_of_mutated_image_raises_only_unreadable_image_error(data, number):
    content = bytearray(MUTATION_SEEDS[number])
    header_positions = st.integers(0, min(900, len(content) - 1))
    for _ in range(data.draw(st.integers(1, 10))):
        position = data.draw(header_positions | st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(("set", "cut", "insert", "swap"))):
            case "set":
                content[position] = data.draw(st.integers(0, 255))
            case "cut":
                del content[position : position + data.draw(st.integers(1, 40))]
            case "insert":
                content[position:position] = data.draw(st.binary(min_size=1, max_size=12))
            case "swap":
                content[position : position + 4] = struct.pack(">I", data.draw(st.integers(0, 2**32 - 1)))
        if len(content) < 20:
            break
        header_positions = st.integers(0, min(900, len(content) - 1))
    for least in (None, 4):
        try:
            assert images.decode(bytes(content), least).mode == "RGB"
        except UnreadableImageError as error:
            assert str(error)


def png_with_late_chunk(name: bytes, data: bytes) -> bytes:
    """A PNG with an additional chunk after its pixels."""
    content = encoded(noise(1), "PNG")
    chunk = struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return content[:-12] + chunk + content[-12:]


@pytest.mark.parametrize(
    ("name", "data"), [(b"iCCP", b"x"), (b"gAMA", b""), (b"cHRM", b"\0"), (b"eXIf", b""), (b"acTL", b""), (b"fcTL", b"\0")]
)
def test_decode_ignores_or_rejects_broken_chunk_after_pixels(name, data):
    try:
        assert images.decode(png_with_late_chunk(name, data)).mode == "RGB"
    except UnreadableImageError as error:
        assert "truncated or corrupt: " in str(error)


@pytest.mark.parametrize("tall", [False, True], ids=["wide", "tall"])
def test_center_square_resize_uses_largest_centered_square(tall):
    pixels = np.zeros((40, 100, 3), np.uint8)
    pixels[:, 30:70] = 90
    pixels[:, 50:70] = 200
    image = Image.fromarray(pixels.transpose(1, 0, 2) if tall else pixels)
    resized = images.center_square_resize(image, 20)
    resized = resized.transpose(1, 0, 2) if tall else resized
    assert resized.dtype == np.uint8
    assert np.unique(resized[:, 1:9]).tolist() == [90]
    assert np.unique(resized[:, 11:-1]).tolist() == [200]


def test_center_square_resize_keeps_whole_square_image():
    image = noise(5).resize((64, 64))
    assert np.array_equal(images.center_square_resize(image, 32), np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR)))


@pytest.mark.parametrize(
    ("width", "height", "least", "scale"), [(640, 500, 250, 2), (640, 500, 251, 1), (900, 1300, 100, 8), (901, 499, 120, 4)]
)
def test_decode_reduces_large_jpeg_and_keeps_required_size(width, height, least, scale):
    content = encoded(textured(10, width, height), quality=95)
    full, reduced = images.decode(content), images.decode(content, least)
    assert reduced.size == (-(-width // scale), -(-height // scale))
    assert min(reduced.size) >= least
    if scale == 1:
        assert reduced.tobytes() == full.tobytes()
    views = [images.center_square_resize(image, least // 4).astype(int) for image in (full, reduced)]
    assert np.abs(views[0] - views[1]).mean() < 1
    assert np.abs(views[0] - views[1]).max() < 12


def test_reduced_decode_applies_orientation_and_color_profile():
    for options in ({"exif": exif_with_orientation(6)}, {"icc_profile": adobe_profile()}, {"progressive": True}):
        content = encoded(textured(11, 600, 400), quality=95, **options)
        full, reduced = images.decode(content), images.decode(content, 150)
        assert reduced.size == tuple(side // 2 for side in full.size)
        assert np.abs(images.center_square_resize(full, 50).astype(int) - images.center_square_resize(reduced, 50)).mean() < 1
        assert images.decode(content, 150).tobytes() == reduced.tobytes()
    cmyk = encoded(to_cmyk(textured(11, 600, 400)), quality=95)
    assert (
        np.abs(
            images.center_square_resize(images.decode(cmyk), 50).astype(int) - images.center_square_resize(images.decode(cmyk, 150), 50)
        ).mean()
        < 1
    )


def test_load_pixels_resizes_reduced_decode_of_large_jpeg():
    content = encoded(textured(12, 1200, 900), quality=95)
    assert (
        images.load_pixels(content, 100).tobytes()
        == images.center_square_resize(images.decode(content, images.required_detail(100, None)), 100).tobytes()
    )
    assert images.decode(content, images.required_detail(100, None)).size == (600, 450)


@pytest.mark.parametrize(("resolution", "decoded_size"), [(None, (600, 450)), (300, (600, 450)), (200, (600, 450)), (100, (300, 225))])
def test_load_pixels_at_one_resolution_matches_full_decode(resolution, decoded_size):
    content = encoded(textured(12, 1200, 900), quality=95)
    least = images.required_detail(100, resolution)
    assert images.decode(content, least).size == decoded_size
    full = images.center_square_resize(images.downsample_to(images.decode(content), resolution), 100).astype(int)
    assert np.abs(images.load_pixels(content, 100, resolution) - full).mean() < 1


def test_reduced_decode_rejects_truncated_jpeg():
    content = encoded(textured(13, 800, 600))
    for least in (None, 300, 100):
        with pytest.raises(UnreadableImageError, match="truncated or corrupt"):
            images.decode(content[: len(content) * 2 // 3], least)


@pytest.mark.parametrize(("width", "height"), [(300, 200), (200, 300), (151, 151), (150, 400)])
def test_downsample_to_averages_square_and_keeps_margins(width, height):
    image = textured(14, width, height)
    small = images.downsample_to(image, 100)
    assert min(small.size) == 100
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    square = image.resize((100, 100), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    assert np.abs(images.center_square_resize(small, 100).astype(int) - np.asarray(square)).max() <= 1
    assert max(small.size) == pytest.approx(max(width, height) * 100 / side, abs=2)


def test_downsample_to_keeps_image_within_resolution():
    image = textured(15, 200, 150)
    assert images.downsample_to(image, 150) is image
    assert images.downsample_to(image, None) is image


def test_load_pixels_at_one_resolution_equalizes_sharpness():
    sharp, coarse = (
        encoded(textured(16, 600, 600), "PNG"),
        encoded(textured(16, 600, 600).resize((150, 150), Image.Resampling.BILINEAR), "PNG"),
    )
    at_original_resolution, at_one_resolution = (
        [images.load_pixels(content, 224, resolution).astype(int) for content in (sharp, coarse)] for resolution in (None, 150)
    )
    assert np.abs(at_one_resolution[0] - at_one_resolution[1]).max() == 0
    assert np.abs(at_original_resolution[0] - at_original_resolution[1]).max() > 3
