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

TO_XYZ = {  # of linear RGB, under ICC's white D50 (Lindbloom, http://www.brucelindbloom.com)
    "sRGB": [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]],
    "Adobe RGB": [[0.6097559, 0.2052401, 0.1492240], [0.3111242, 0.6256560, 0.0632197], [0.0194811, 0.0608902, 0.7448387]],
}
ADOBE_GAMMA = 2.19921875
D50 = (0.9642, 1, 0.8249)


def png(width: int, height: int, depth: int, kind: int, rows: list[bytes], **chunks: bytes) -> bytes:
    """A PNG of any depth and colour type, from its rows of packed samples; `chunks` stand before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    parts = [(b"IHDR", header), *((name.encode(), data) for name, data in chunks.items())]
    parts += [(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts)
    return b"\x89PNG\r\n\x1a\n" + body


def packed(levels: np.ndarray, depth: int) -> list[bytes]:
    """Rows of samples of `depth` bits, each 0 to 2^depth - 1."""
    if depth >= 8:
        return [row.astype(f">u{depth // 8}").tobytes() for row in levels]
    bits = (levels[..., None] >> np.arange(depth)[::-1] & 1).astype(np.uint8)
    return [np.packbits(row.reshape(-1)).tobytes() for row in bits]


def profile(space: bytes, tags: dict[bytes, bytes], pcs: bytes = b"XYZ ") -> bytes:
    """An ICC profile of version 2 that holds these tags."""
    table, body, at = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4sI4s4s4s12s4s", at + len(body), b"none", 0x02400000, b"mntr", space, pcs, bytes(12), b"acsp")
    return head.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061) + bytes(48) + table + body


def xyz(values: object) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))


def curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))


def linear_grey() -> bytes:
    return profile(b"GRAY", {b"wtpt": xyz(D50), b"kTRC": curve(1.0)})


def inks_profile() -> bytes:
    """Inks that make the paper lighter: L* grows with their mean, without a hue."""
    ramp = bytes(range(256))
    corners = [bytes([255 * sum(ink) // 4, 128, 128]) for ink in itertools.product((0, 1), repeat=4)]
    identity = struct.pack(">9i", *(65536 if at % 4 == 0 else 0 for at in range(9)))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + ramp * 4 + b"".join(corners) + ramp * 3
    return profile(b"CMYK", {b"wtpt": xyz(D50), b"A2B0": table}, pcs=b"Lab ")


def adobe_profile() -> bytes:
    colorants = np.transpose(TO_XYZ["Adobe RGB"])
    shapes = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve(ADOBE_GAMMA))
    white = {b"wtpt": xyz(D50)}
    return profile(b"RGB ", white | dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(xyz, colorants), strict=True)) | shapes)


def in_adobe_rgb(picture: Image.Image) -> Image.Image:
    """The levels that show the sRGB picture's colours in Adobe RGB."""
    levels = np.asarray(picture) / 255
    light = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    other = light @ np.transpose(np.linalg.inv(TO_XYZ["Adobe RGB"]) @ TO_XYZ["sRGB"])
    return Image.fromarray(np.rint(np.clip(other, 0, 1) ** (1 / ADOBE_GAMMA) * 255).astype(np.uint8))


def cmyk_of(picture: Image.Image) -> Image.Image:
    """The inks that print the picture's colours without a profile: no black."""
    return Image.merge("CMYK", [*(band.point(lambda level: 255 - level) for band in picture.split()), Image.new("L", picture.size)])


def apart(one: Image.Image, other: Image.Image) -> int:
    assert (one.mode, other.mode, one.size) == ("RGB", "RGB", other.size)
    return int(np.abs(np.asarray(one).astype(int) - np.asarray(other)).max())


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
    with pytest.raises(UnreadableImageError, match=reason):
        images.decode(content)


@given(st.binary(max_size=400))
def test_any_bytes_decode_or_are_called_unreadable(content):
    try:
        images.decode(content)
    except UnreadableImageError as fault:
        assert str(fault)


@given(st.data())
def test_a_damaged_jpeg_decodes_or_is_called_unreadable(data):
    content = bytearray(encoded(noise(3)))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert images.decode(bytes(content)).mode == "RGB"
    except UnreadableImageError as fault:
        assert str(fault)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_every_colour_mode_becomes_rgb(mode):
    form = "JPEG" if mode == "CMYK" else "PNG"
    assert images.load_pixels(encoded(noise(2).convert(mode), form), 32).shape == (32, 32, 3)


def test_exif_orientation_is_applied():
    assert images.decode(encoded(noise(4).resize((60, 30)), exif=turned(6))).size == (30, 60)


def test_a_jpeg_with_a_second_picture_inside_is_a_jpeg():
    stream = io.BytesIO()
    textured(1).save(stream, "MPO", save_all=True, append_images=[textured(2)], quality=95)
    content = stream.getvalue()
    with Image.open(io.BytesIO(content)) as phone:
        assert phone.format == "MPO"
    image, header = images.decode_with_header(content)
    assert (header.format, header.mode) == ("JPEG", "RGB")
    assert apart(image, images.decode(encoded(textured(1), quality=95))) == 0


def grey_pairs():
    for depth in (1, 2, 4, 8, 16):
        top = 2**depth - 1
        levels = np.asarray(textured(3).convert("L").resize((61, 40)), dtype=int) * top // 255
        shown = Image.fromarray((levels * 255 // top).astype(np.uint8)).convert("RGB")
        yield f"grey {depth}", png(61, 40, depth, 0, packed(levels, depth)), shown
        key = int(levels[0, 0])
        keyed = np.where((levels == key)[..., None], 255, np.asarray(shown)).astype(np.uint8)
        yield f"grey {depth}, one level transparent", png(61, 40, depth, 0, packed(levels, depth), tRNS=struct.pack(">H", key)), keyed
    yield "grey 16, light", png(61, 40, 16, 0, packed(np.full((40, 61), 0x8123), 16)), np.full((40, 61, 3), 0x81, np.uint8)


def deep_pairs():
    """Sixteen bits a channel, with and without opacity."""
    picture = textured(4, 61, 40)
    wide = np.asarray(picture, dtype=int) * 257
    opacity = np.full((40, 61, 1), 65535)
    opacity[:20] = 0
    on_white = np.asarray(picture).copy()
    on_white[:20] = 255
    yield "rgb 16", png(61, 40, 16, 2, packed(wide.reshape(40, -1), 16)), picture
    yield "rgba 16", png(61, 40, 16, 6, packed(np.concatenate([wide, opacity], 2).reshape(40, -1), 16)), on_white
    grey = np.asarray(picture.convert("L"), dtype=int)[..., None]
    shown = np.where(opacity == 0, 255, grey).repeat(3, axis=2).astype(np.uint8)
    yield "la 16", png(61, 40, 16, 4, packed(np.concatenate([grey * 257, opacity], 2).reshape(40, -1), 16)), shown
    wide[3, 5], key = (0x1234, 0x5678, 0x9ABC), struct.pack(">3H", 0x1234, 0x5678, 0x9ABC)
    keyed = np.asarray(picture).copy()
    keyed[3, 5] = 255
    yield "rgb 16, one colour transparent", png(61, 40, 16, 2, packed(wide.reshape(40, -1), 16), tRNS=key), keyed


def shallow_pairs():
    """Eight bits a channel or fewer."""
    picture = textured(5, 61, 40)
    few = picture.quantize(16)
    shown, clear = few.convert("RGB"), 3
    yield "palette", encoded(few, "PNG"), shown
    hidden = np.where((np.asarray(few) == clear)[..., None], 255, np.asarray(shown)).astype(np.uint8)
    yield "palette, one colour transparent", encoded(few, "PNG", transparency=clear), hidden
    half = np.where((np.asarray(few) == 0)[..., None], np.asarray(shown) // 2 + 128, np.asarray(shown)).astype(np.uint8)
    yield "palette, one colour half transparent", encoded(few, "PNG", transparency=bytes([128, 255])), half
    clear_left = Image.new("L", picture.size, 255)
    clear_left.paste(0, (0, 0, 30, 40))
    on_white = Image.composite(picture, Image.new("RGB", picture.size, "white"), clear_left)
    lit = picture.copy()
    lit.putalpha(clear_left)
    yield "rgba", encoded(lit, "PNG"), on_white
    opaque = picture.copy()
    opaque.putalpha(255)
    yield "rgba, opaque", encoded(opaque, "PNG"), picture
    grey = picture.convert("L")
    grey.putalpha(clear_left)
    yield (
        "la",
        encoded(grey, "PNG"),
        Image.composite(picture.convert("L").convert("RGB"), Image.new("RGB", picture.size, "white"), clear_left),
    )
    key = picture.getpixel((0, 0))
    keyed = np.where((np.asarray(picture) == key).all(axis=2, keepdims=True), 255, np.asarray(picture)).astype(np.uint8)
    yield "rgb, one colour transparent", encoded(picture, "PNG", transparency=key), keyed


def coloured_pairs():
    """Colours in other spaces than sRGB."""
    picture = noise(6).point(lambda level: 60 + level // 2)
    adobe, inks = in_adobe_rgb(picture), cmyk_of(picture)
    yield "adobe rgb", encoded(adobe, "PNG", icc_profile=adobe_profile()), picture
    photograph = images.decode(encoded(adobe, quality=95))
    yield (
        "adobe rgb jpeg",
        encoded(adobe, quality=95, icc_profile=adobe_profile()),
        images.decode(encoded(photograph, "PNG", icc_profile=adobe_profile())),
    )
    half = adobe.copy()
    half.putalpha(128)
    on_white = np.rint(np.asarray(picture) * (128 / 255) + 127).astype(np.uint8)
    yield "adobe rgb, half transparent", encoded(half, "PNG", icc_profile=adobe_profile()), on_white
    few = adobe.quantize(64)
    yield (
        "adobe rgb palette",
        encoded(few, "PNG", icc_profile=adobe_profile()),
        images.decode(encoded(few.convert("RGB"), "PNG", icc_profile=adobe_profile())),
    )
    light = np.asarray(picture.convert("L")) / 255
    shown = np.rint(255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)).astype(np.uint8)
    yield "grey, linear profile", encoded(picture.convert("L"), "PNG", icc_profile=linear_grey()), shown[..., None].repeat(3, axis=2)
    yield "cmyk", encoded(inks, quality=100, subsampling=0), picture
    no_curves = profile(b"RGB ", {b"wtpt": xyz(D50)})
    for name, broken in {"no profile at all": b"none" * 50, "cut off": adobe_profile()[:150], "without curves": no_curves}.items():
        yield f"profile: {name}", encoded(picture, "PNG", icc_profile=broken), picture
    yield "profile: of grey for colours", encoded(picture, "PNG", icc_profile=linear_grey()), picture
    yield (
        "profile: of colours for grey",
        encoded(picture.convert("L"), "PNG", icc_profile=adobe_profile()),
        picture.convert("L").convert("RGB"),
    )


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        pytest.param(content, shown, id=name)
        for pairs in (grey_pairs, deep_pairs, shallow_pairs, coloured_pairs)
        for name, content, shown in pairs()
    ],
)
def test_an_image_is_seen_as_a_colour_managed_viewer_shows_it_on_white(content, shown):
    assert apart(images.decode(content), Image.fromarray(np.asarray(shown))) <= 2


def test_a_picture_with_an_srgb_profile_is_byte_for_byte_what_it_is_without():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert images.decode(encoded(noise(6), "PNG", icc_profile=srgb)).tobytes() == noise(6).tobytes()


def test_a_profile_for_inks_is_followed():
    inks = cmyk_of(noise(6))
    plain = images.decode(encoded(inks, quality=100, subsampling=0))
    negative = images.decode(encoded(inks, quality=100, subsampling=0, icc_profile=inks_profile()))
    assert apart(negative, plain.point(lambda level: 255 - level)) > 20  # Lab is no plain negative
    shades = [np.asarray(image.convert("L"), dtype=float).ravel() for image in (negative, plain)]
    assert np.corrcoef(*shades)[0, 1] < -0.5


def test_an_adobe_rgb_picture_would_look_dull_without_its_profile():
    assert apart(images.decode(encoded(in_adobe_rgb(noise(6)), "PNG")), noise(6)) > 8


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 40, "subsampling": 2}, {"restart_marker_rows": 1}])
def test_a_plain_rgb_jpeg_decodes_byte_for_byte_as_pillow_decodes_it(options):
    content = encoded(textured(7, 203, 151), **options)
    with Image.open(io.BytesIO(content)) as plain:
        assert images.decode(content).tobytes() == plain.tobytes()
        assert images.load_pixels(content, 96).tobytes() == images.center_square_resize(plain, 96).tobytes()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_upright_as_pillow_turns_it(orientation):
    for form in ("JPEG", "PNG"):
        content = encoded(textured(8, 60, 30), form, exif=turned(orientation))
        with Image.open(io.BytesIO(content)) as stored:
            assert images.decode(content).tobytes() == ImageOps.exif_transpose(stored).tobytes()
        assert images.decode_with_header(content)[1].orientation == orientation


@pytest.mark.parametrize("orientation", [0, 9, 300])
def test_an_orientation_that_does_not_exist_is_ignored(orientation):
    image, header = images.decode_with_header(encoded(textured(8, 60, 30), exif=turned(orientation)))
    assert (image.size, header.orientation) == ((60, 30), 1)


def with_segment(content: bytes, marker: int, data: bytes) -> bytes:
    """A JPEG with a segment more at its beginning."""
    return content[:2] + struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data + content[2:]


def test_broken_exif_and_a_broken_index_of_pictures_are_ignored_without_a_warning():
    plain = encoded(textured(9))
    loop = b"Exif\0\0MM\0*" + struct.pack(">IHHHII", 8, 1, 0x8769, 4, 1, 8) + struct.pack(">I", 8)  # a directory within itself
    with warnings.catch_warnings(record=True) as said:
        for data, marker in (
            (b"Exif\0\0II*\0\xff\xff", 0xE1),
            (b"Exif\0\0" + b"\xff" * 60, 0xE1),
            (loop, 0xE1),
            (b"MPF\0" + b"\1" * 40, 0xE2),
        ):
            assert apart(images.decode(with_segment(plain, marker, data)), images.decode(plain)) == 0
    assert not said


def test_metadata_without_end_is_passed_over_or_refused_in_a_moment():
    plain = encoded(textured(9))
    segment = with_segment(plain, 0xE1, b"Exif\0\0" + bytes(65000))[2:65012]
    much = plain[:2] + segment * 100 + plain[2:]
    endless = {
        "exif": plain[:2] + segment * 260 + plain[2:],
        "empty segments": plain[:2] + b"\xff\xe5\0\2" * 6000 + plain[2:],
        "zeros": plain[:20] + bytes(200_000) + plain[20:],
        "fill bytes": plain[:20] + b"\xff" * 200_000 + plain[20:],
        "zeros to the end": plain[:20] + bytes(200_000),
        "chunks": png(4, 4, 8, 2, [bytes(12)] * 4)[:33] + (bytes(4) + b"teXt" + struct.pack(">I", zlib.crc32(b"teXt"))) * 6000,
    }
    bomb = png(4, 4, 8, 2, [bytes(12)] * 4, iCCP=b"name\0\0" + zlib.compress(bytes(5_000_000)))
    began = time.process_time()
    assert apart(images.decode(much), images.decode(plain)) == 0
    with pytest.raises(UnreadableImageError, match="too large"):
        images.decode(bomb)
    for content in endless.values():
        with pytest.raises(UnreadableImageError, match=r"metadata|truncated"):
            images.decode(content)
    assert time.process_time() - began < 4


HOSTILE = [
    encoded(noise(3)),
    encoded(noise(3), exif=turned(6), icc_profile=adobe_profile(), progressive=True),
    encoded(cmyk_of(noise(3))),
    encoded(noise(3).quantize(16), "PNG", transparency=3),
    encoded(noise(3), "PNG", icc_profile=adobe_profile()),
    png(8, 8, 16, 0, packed(np.full((8, 8), 40_000), 16), tRNS=b"\1\2", eXIf=b"MM\0*\0\0\0\x08\0\0"),
    next(content for name, content, _ in deep_pairs() if name == "rgba 16"),
]


@given(st.data(), st.sampled_from(range(len(HOSTILE))))
def test_mutated_bytes_decode_or_are_called_unreadable_and_nothing_else_is_raised(data, number):
    content = bytearray(HOSTILE[number])
    header = st.integers(0, min(900, len(content) - 1))
    for _ in range(data.draw(st.integers(1, 10))):
        at = data.draw(header | st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(("set", "cut", "insert", "swap"))):
            case "set":
                content[at] = data.draw(st.integers(0, 255))
            case "cut":
                del content[at : at + data.draw(st.integers(1, 40))]
            case "insert":
                content[at:at] = data.draw(st.binary(min_size=1, max_size=12))
            case "swap":
                content[at : at + 4] = struct.pack(">I", data.draw(st.integers(0, 2**32 - 1)))
        if len(content) < 20:
            break
        header = st.integers(0, min(900, len(content) - 1))
    for least in (None, 4):
        try:
            assert images.decode(bytes(content), least).mode == "RGB"
        except UnreadableImageError as fault:
            assert str(fault)


def late(name: bytes, data: bytes) -> bytes:
    """A PNG with a chunk after its pixels."""
    content = encoded(noise(1), "PNG")
    chunk = struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return content[:-12] + chunk + content[-12:]


@pytest.mark.parametrize(
    ("name", "data"), [(b"iCCP", b"x"), (b"gAMA", b""), (b"cHRM", b"\0"), (b"eXIf", b""), (b"acTL", b""), (b"fcTL", b"\0")]
)
def test_a_broken_chunk_behind_the_pixels_is_refused_or_ignored(name, data):
    try:
        assert images.decode(late(name, data)).mode == "RGB"
    except UnreadableImageError as fault:
        assert "truncated or corrupt: " in str(fault)


@pytest.mark.parametrize("turned", [False, True], ids=["wide", "tall"])
def test_fit_takes_the_largest_centred_square(turned):
    rows = np.zeros((40, 100, 3), np.uint8)
    rows[:, 30:70] = 90
    rows[:, 50:70] = 200
    picture = Image.fromarray(rows.transpose(1, 0, 2) if turned else rows)
    fitted = images.center_square_resize(picture, 20)
    fitted = fitted.transpose(1, 0, 2) if turned else fitted
    assert fitted.dtype == np.uint8
    assert np.unique(fitted[:, 1:9]).tolist() == [90]
    assert np.unique(fitted[:, 11:-1]).tolist() == [200]


def test_a_square_image_is_fitted_whole():
    picture = noise(5).resize((64, 64))
    assert np.array_equal(images.center_square_resize(picture, 32), np.asarray(picture.resize((32, 32), Image.Resampling.BILINEAR)))


@pytest.mark.parametrize(
    ("width", "height", "least", "scale"), [(640, 500, 250, 2), (640, 500, 251, 1), (900, 1300, 100, 8), (901, 499, 120, 4)]
)
def test_a_large_jpeg_is_decoded_at_a_fraction_that_keeps_the_side_asked_for(width, height, least, scale):
    content = encoded(textured(10, width, height), quality=95)
    full, scaled = images.decode(content), images.decode(content, least)
    assert scaled.size == (-(-width // scale), -(-height // scale))
    assert min(scaled.size) >= least
    if scale == 1:
        assert scaled.tobytes() == full.tobytes()
    shown = [images.center_square_resize(image, least // 4).astype(int) for image in (full, scaled)]
    assert np.abs(shown[0] - shown[1]).mean() < 1
    assert np.abs(shown[0] - shown[1]).max() < 12


def test_a_fraction_is_turned_managed_and_repeatable_like_the_whole():
    for options in ({"exif": turned(6)}, {"icc_profile": adobe_profile()}, {"progressive": True}):
        content = encoded(textured(11, 600, 400), quality=95, **options)
        full, scaled = images.decode(content), images.decode(content, 150)
        assert scaled.size == tuple(side // 2 for side in full.size)
        assert np.abs(images.center_square_resize(full, 50).astype(int) - images.center_square_resize(scaled, 50)).mean() < 1
        assert images.decode(content, 150).tobytes() == scaled.tobytes()
    inks = encoded(cmyk_of(textured(11, 600, 400)), quality=95)
    assert (
        np.abs(
            images.center_square_resize(images.decode(inks), 50).astype(int) - images.center_square_resize(images.decode(inks, 150), 50)
        ).mean()
        < 1
    )


def test_what_a_model_sees_of_a_large_jpeg_is_its_fraction_fitted():
    content = encoded(textured(12, 1200, 900), quality=95)
    assert (
        images.load_pixels(content, 100).tobytes()
        == images.center_square_resize(images.decode(content, images.required_detail(100, None)), 100).tobytes()
    )
    assert images.decode(content, images.required_detail(100, None)).size == (600, 450)


@pytest.mark.parametrize(("resolution", "decoded"), [(None, (600, 450)), (300, (600, 450)), (200, (600, 450)), (100, (300, 225))])
def test_at_one_resolution_a_jpeg_is_decoded_at_twice_that_at_least_and_looks_like_the_whole(resolution, decoded):
    content = encoded(textured(12, 1200, 900), quality=95)
    least = images.required_detail(100, resolution)
    assert images.decode(content, least).size == decoded
    in_full = images.center_square_resize(images.downsample_to(images.decode(content), resolution), 100).astype(int)
    assert np.abs(images.load_pixels(content, 100, resolution) - in_full).mean() < 1


def test_a_truncated_jpeg_is_refused_at_every_fraction():
    content = encoded(textured(13, 800, 600))
    for least in (None, 300, 100):
        with pytest.raises(UnreadableImageError, match="truncated or corrupt"):
            images.decode(content[: len(content) * 2 // 3], least)


@pytest.mark.parametrize(("width", "height"), [(300, 200), (200, 300), (151, 151), (150, 400)])
def test_one_resolution_averages_the_square_and_keeps_what_lies_beside_it(width, height):
    image = textured(14, width, height)
    small = images.downsample_to(image, 100)
    assert min(small.size) == 100
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    square = image.resize((100, 100), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    assert np.abs(images.center_square_resize(small, 100).astype(int) - np.asarray(square)).max() <= 1
    assert max(small.size) == pytest.approx(max(width, height) * 100 / side, abs=2)


def test_a_picture_no_larger_than_the_resolution_stays_as_it_is():
    image = textured(15, 200, 150)
    assert images.downsample_to(image, 150) is image
    assert images.downsample_to(image, None) is image


def test_at_one_resolution_a_sharp_picture_and_a_coarse_one_look_alike():
    sharp, coarse = (
        encoded(textured(16, 600, 600), "PNG"),
        encoded(textured(16, 600, 600).resize((150, 150), Image.Resampling.BILINEAR), "PNG"),
    )
    as_they_come, at_one = (
        [images.load_pixels(content, 224, resolution).astype(int) for content in (sharp, coarse)] for resolution in (None, 150)
    )
    assert np.abs(at_one[0] - at_one[1]).max() == 0
    assert np.abs(as_they_come[0] - as_they_come[1]).max() > 3
