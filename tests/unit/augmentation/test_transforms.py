import hashlib
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from components.augmentation import transforms
from components.augmentation.transforms import Warp
from components.imaging import images
from components.runtime.params import Augment
from tests.support.images import textured

AT_REST = {
    "rotation": 0, "flips": False, "shift": 0, "shear": 0, "zoom": (1, 1), "max_aspect_stretch": 1, "brightness": 0, "contrast": 0,
    "saturation": 0, "white_balance": 0, "blur_probability": 0, "sharpen_probability": 0, "jpeg_probability": 0, "vignette_probability": 0,
}  # fmt: skip


def params(**changes: object) -> Augment:
    return Augment(views_per_image=1, max_views_per_image=1, **{**AT_REST, **changes})


def view(image: Image.Image, size: int, seed: int = 0, **changes: object) -> np.ndarray:
    return transforms.render(image, size, params(**changes), np.random.default_rng(seed))


def warped(image: Image.Image, size: int, turn: object = ((1, 0), (0, 1)), zoom: float = 1, shift: tuple[float, float] = (0, 0)):
    return transforms.warp_image(image, size, Warp(np.array(turn, float), zoom, np.array(shift)))


def apart(one: np.ndarray, other: np.ndarray) -> float:
    return np.abs(one.astype(float) - other).max()


@given(width=st.integers(32, 400), height=st.integers(32, 400), size=st.sampled_from([32, 96, 224]))
@settings(max_examples=40, deadline=None)
def test_with_every_knob_at_rest_a_view_is_what_serving_sees(width, height, size):
    image = textured(3, width, height)
    assert apart(view(image, size), images.center_square_resize(image, size)) <= 1


@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    size=st.integers(32, 96),
    seed=st.integers(0, 2**31 - 1),
    zoom=st.tuples(st.floats(0.25, 1), st.floats(1, 4)),
    changes=st.fixed_dictionaries(
        {
            "rotation": st.floats(0, 180),
            "flips": st.booleans(),
            "shift": st.floats(0, 0.5),
            "shear": st.floats(0, 45),
            "max_aspect_stretch": st.floats(1, 2),
            **{name: st.floats(0, 0.99) for name in ("brightness", "contrast", "saturation", "white_balance")},
            **{name: st.floats(0, 1) for name in ("blur_probability", "sharpen_probability", "jpeg_probability", "vignette_probability")},
        }
    ),
)
@settings(max_examples=60, deadline=None)
def test_any_image_and_knobs_give_a_view_of_the_size_asked(width, height, size, seed, zoom, changes):
    image = Image.fromarray(np.full((height, width, 3), 90, np.uint8))
    pixels = view(image, size, seed, zoom=zoom, **changes)
    assert (pixels.shape, pixels.dtype) == ((size, size, 3), np.uint8)
    still = {
        **changes,
        **dict.fromkeys(("brightness", "contrast", "saturation", "white_balance", "jpeg_probability", "vignette_probability"), 0),
    }
    assert (view(image, size, seed, zoom=zoom, **still) == 90).all()  # no black corner: beyond the edges it is mirrored


def test_beyond_its_edges_an_image_is_mirrored():
    image = textured(1, 64, 64)
    pixels = np.asarray(image)
    seen = warped(image, 96, zoom=64 / 96)
    assert apart(seen, np.pad(pixels, ((16, 16), (16, 16), (0, 0)), "symmetric")) <= 1
    assert apart(warped(image, 320, zoom=64 / 320), np.pad(pixels, ((128, 128), (128, 128), (0, 0)), "symmetric")) <= 1


def test_the_margins_of_a_wide_image_are_seen_before_its_mirror():
    image = textured(2, 128, 64)
    seen = warped(image, 96, zoom=64 / 96)
    assert apart(seen[16:80], np.asarray(image)[:, 16:112]) <= 1


@pytest.mark.parametrize("side", [64, 640])
def test_zoom_above_one_shows_less(side):
    image = textured(4, side, side)
    quarter = image.crop((side // 4, side // 4, side * 3 // 4, side * 3 // 4))
    assert np.abs(warped(image, 32, zoom=2) - np.asarray(quarter.resize((32, 32), Image.Resampling.BILINEAR)).astype(int)).mean() < 2


def test_shift_moves_the_view_over_the_image():
    image = textured(5, 64, 64)
    assert apart(warped(image, 64, shift=(0.25, 0))[:, :48], np.asarray(image)[:, 16:]) <= 1
    assert apart(warped(image, 64, shift=(0, -0.25))[16:], np.asarray(image)[:48]) <= 1


@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        (((-1, 0), (0, 1)), lambda pixels: pixels[:, ::-1]),
        (((1, 0), (0, -1)), lambda pixels: pixels[::-1]),
        (((0, -1), (1, 0)), np.rot90),
    ],
    ids=["mirrored", "upside down", "quarter turn"],
)
def test_flips_and_quarter_turns_lose_nothing(turn, expected):
    image = textured(6, 90, 64)
    square = np.asarray(image.crop((13, 0, 77, 64)))
    assert apart(warped(image, 64, turn), expected(square)) <= 1


def test_a_fine_pattern_does_not_alias_where_a_view_is_coarser_than_the_image():
    stripes = np.zeros((1200, 1200, 3), np.uint8)
    stripes[:, ::2] = 200
    seen = view(Image.fromarray(stripes), 64, 1, rotation=180, zoom=(0.67, 1.6))
    assert np.ptp(seen.astype(int)) <= 4


def test_a_draw_keeps_to_its_ranges_and_to_the_images_area():
    range_of = params(rotation=180, flips=True, shift=0.1, shear=45, zoom=(0.5, 2), max_aspect_stretch=1.5)
    draws = [transforms.sample_warp(range_of, np.random.default_rng(seed)) for seed in range(300)]
    zooms = np.log2([draw.zoom for draw in draws])
    assert -1 <= zooms.min() < -0.9 and 0.9 < zooms.max() <= 1
    assert abs(np.median(zooms)) < 0.2  # as often larger as smaller
    assert 0.09 < np.abs([draw.shift for draw in draws]).max() <= 0.1
    assert {round(float(np.linalg.det(draw.linear_map)), 6) for draw in draws} == {-1, 1}


@pytest.mark.parametrize(
    ("changes", "steady"),
    [
        ({"contrast": 0.5}, lambda pixels: pixels.mean()),
        ({"saturation": 1}, lambda pixels: pixels.mean(axis=2)),
        ({"brightness": 0.2}, lambda pixels: pixels[..., 0] / pixels[..., 1]),
        ({"white_balance": 0.2}, lambda pixels: pixels[..., 1] / pixels[0, 0, 1]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_change_of_colour_leaves_what_it_should(changes, steady):
    pixels = np.asarray(textured(7, 32, 32), np.float32) / 2 + 60
    before = transforms.jitter_color(pixels, params(), np.random.default_rng(0))
    after = transforms.jitter_color(pixels, params(**changes), np.random.default_rng(0))
    assert np.abs(after - before).max() > 2
    assert np.allclose(steady(before), steady(after), rtol=1e-4)


def test_a_vignette_darkens_the_corners_alone():
    factors = transforms.vignette_mask(101, 0.5)[..., 0]
    assert (factors[37:64, 37:64] == 1).all()
    assert factors[0, 0] == pytest.approx(0.5)
    assert np.allclose(factors, factors.T)


def test_blur_sharpening_jpeg_and_vignette_touch_their_share_of_views():
    image = textured(8, 224, 224)
    still = images.center_square_resize(image, 224)
    for name in ("blur_probability", "sharpen_probability", "jpeg_probability", "vignette_probability"):
        touched = [not np.array_equal(view(image, 224, seed, **{name: 0.3}), still) for seed in range(150)]
        assert np.mean(touched) == pytest.approx(0.3, abs=0.1), name


def test_sharpening_raises_contrast_along_edges_and_leaves_flat_skin():
    edge = np.full((64, 64, 3), 90, np.float32)
    edge[:, 32:] = 150
    sharp = transforms.sharpen(edge, 2, 150)
    assert sharp[:, 28:32].min() < 90 and sharp[:, 32:36].max() > 150
    assert (sharp[:, :20] == 90).all() and (sharp[:, 44:] == 150).all()


def test_views_are_as_they_were_before_there_was_sharpening_and_otherwise_alike_with_it(settings):
    still, sharp = (settings.augment.model_copy(update={"sharpen_probability": share}) for share in (0, 1))
    digest = hashlib.sha256()
    for number in range(4):
        image = textured(number, 200, 150)
        plain, keen = (transforms.render(image, 96, params, transforms.random_generator(0, "a.jpg", number)) for params in (still, sharp))
        digest.update(plain.tobytes())
        assert 0 < np.abs(plain.astype(int) - keen).mean() < 60
    assert digest.hexdigest() == "5df7ade27fa290893c63f44cada2955e7b979471bcfdb307b39e999902dcf034"


def test_a_view_is_drawn_from_its_seed_path_and_number():
    def drawn(*key):
        return transforms.random_generator(*key).random()

    assert drawn(0, "nevus/a.jpg", 1) == drawn(0, "nevus/a.jpg", 1)
    assert len({drawn(seed, path, number) for seed in (0, 1) for path in ("a", "b") for number in (0, 1)}) == 8


def test_a_large_photograph_costs_no_more_memory_than_itself():
    image = Image.fromarray(np.full((2000, 3000, 3), 128, np.uint8))
    tracemalloc.start()
    view(image, 224, 3, rotation=180, shift=0.5, zoom=(0.25, 4))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3000 * 2000 * 3
