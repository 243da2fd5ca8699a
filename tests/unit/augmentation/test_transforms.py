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

NO_AUGMENTATION = {
    "rotation": 0, "flips": False, "shift": 0, "shear": 0, "zoom": (1, 1), "max_aspect_stretch": 1, "brightness": 0, "contrast": 0,
    "saturation": 0, "white_balance": 0, "blur_probability": 0, "sharpen_probability": 0, "jpeg_probability": 0, "vignette_probability": 0,
}  # fmt: skip


def params(**changes: object) -> Augment:
    return Augment(views_per_image=1, max_views_per_image=1, **{**NO_AUGMENTATION, **changes})


def render(image: Image.Image, size: int, seed: int = 0, **changes: object) -> np.ndarray:
    return transforms.render(image, size, params(**changes), np.random.default_rng(seed))


def warp(image: Image.Image, size: int, linear_map: object = ((1, 0), (0, 1)), zoom: float = 1, shift: tuple[float, float] = (0, 0)):
    return transforms.warp_image(image, size, Warp(np.array(linear_map, float), zoom, np.array(shift)))


def max_difference(first: np.ndarray, second: np.ndarray) -> float:
    return np.abs(first.astype(float) - second).max()


@given(width=st.integers(32, 400), height=st.integers(32, 400), size=st.sampled_from([32, 96, 224]))
@settings(max_examples=40, deadline=None)
def test_render_equals_center_square_resize_without_augmentation(width, height, size):
    image = textured(3, width, height)
    assert max_difference(render(image, size), images.center_square_resize(image, size)) <= 1


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
def test_render_returns_requested_size_and_fills_every_pixel(width, height, size, seed, zoom, changes):
    image = Image.fromarray(np.full((height, width, 3), 90, np.uint8))
    pixels = render(image, size, seed, zoom=zoom, **changes)
    assert (pixels.shape, pixels.dtype) == ((size, size, 3), np.uint8)
    geometric_changes = {
        **changes,
        **dict.fromkeys(("brightness", "contrast", "saturation", "white_balance", "jpeg_probability", "vignette_probability"), 0),
    }
    # No black corners: the image is mirrored beyond its edges.
    assert (render(image, size, seed, zoom=zoom, **geometric_changes) == 90).all()


def test_warp_mirrors_image_beyond_its_edges():
    image = textured(1, 64, 64)
    pixels = np.asarray(image)
    view = warp(image, 96, zoom=64 / 96)
    assert max_difference(view, np.pad(pixels, ((16, 16), (16, 16), (0, 0)), "symmetric")) <= 1
    assert max_difference(warp(image, 320, zoom=64 / 320), np.pad(pixels, ((128, 128), (128, 128), (0, 0)), "symmetric")) <= 1


def test_warp_shows_margins_of_wide_image_before_mirroring():
    image = textured(2, 128, 64)
    view = warp(image, 96, zoom=64 / 96)
    assert max_difference(view[16:80], np.asarray(image)[:, 16:112]) <= 1


@pytest.mark.parametrize("size", [64, 640])
def test_warp_crops_image_when_zoom_is_above_one(size):
    image = textured(4, size, size)
    center = image.crop((size // 4, size // 4, size * 3 // 4, size * 3 // 4))
    assert np.abs(warp(image, 32, zoom=2) - np.asarray(center.resize((32, 32), Image.Resampling.BILINEAR)).astype(int)).mean() < 2


def test_warp_shift_moves_view_over_image():
    image = textured(5, 64, 64)
    assert max_difference(warp(image, 64, shift=(0.25, 0))[:, :48], np.asarray(image)[:, 16:]) <= 1
    assert max_difference(warp(image, 64, shift=(0, -0.25))[16:], np.asarray(image)[:48]) <= 1


@pytest.mark.parametrize(
    ("linear_map", "expected"),
    [
        (((-1, 0), (0, 1)), lambda pixels: pixels[:, ::-1]),
        (((1, 0), (0, -1)), lambda pixels: pixels[::-1]),
        (((0, -1), (1, 0)), np.rot90),
    ],
    ids=["horizontal flip", "vertical flip", "quarter turn"],
)
def test_warp_flips_and_quarter_turns_are_lossless(linear_map, expected):
    image = textured(6, 90, 64)
    square = np.asarray(image.crop((13, 0, 77, 64)))
    assert max_difference(warp(image, 64, linear_map), expected(square)) <= 1


def test_render_does_not_alias_fine_patterns():
    stripes = np.zeros((1200, 1200, 3), np.uint8)
    stripes[:, ::2] = 200
    view = render(Image.fromarray(stripes), 64, 1, rotation=180, zoom=(0.67, 1.6))
    assert np.ptp(view.astype(int)) <= 4


def test_sample_warp_stays_within_ranges_and_preserves_area():
    ranges = params(rotation=180, flips=True, shift=0.1, shear=45, zoom=(0.5, 2), max_aspect_stretch=1.5)
    samples = [transforms.sample_warp(ranges, np.random.default_rng(seed)) for seed in range(300)]
    zooms = np.log2([sample.zoom for sample in samples])
    assert -1 <= zooms.min() < -0.9 and 0.9 < zooms.max() <= 1
    assert abs(np.median(zooms)) < 0.2  # zooming in is as likely as zooming out
    assert 0.09 < np.abs([sample.shift for sample in samples]).max() <= 0.1
    assert {round(float(np.linalg.det(sample.linear_map)), 6) for sample in samples} == {-1, 1}


@pytest.mark.parametrize(
    ("changes", "invariant"),
    [
        ({"contrast": 0.5}, lambda pixels: pixels.mean()),
        ({"saturation": 1}, lambda pixels: pixels.mean(axis=2)),
        ({"brightness": 0.2}, lambda pixels: pixels[..., 0] / pixels[..., 1]),
        ({"white_balance": 0.2}, lambda pixels: pixels[..., 1] / pixels[0, 0, 1]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_jitter_color_preserves_invariant_of_each_change(changes, invariant):
    pixels = np.asarray(textured(7, 32, 32), np.float32) / 2 + 60
    before = transforms.jitter_color(pixels, params(), np.random.default_rng(0))
    after = transforms.jitter_color(pixels, params(**changes), np.random.default_rng(0))
    assert np.abs(after - before).max() > 2
    assert np.allclose(invariant(before), invariant(after), rtol=1e-4)


def test_vignette_darkens_only_corners():
    factors = transforms.vignette_mask(101, 0.5)[..., 0]
    assert (factors[37:64, 37:64] == 1).all()
    assert factors[0, 0] == pytest.approx(0.5)
    assert np.allclose(factors, factors.T)


def test_filters_apply_with_configured_probability():
    image = textured(8, 224, 224)
    unchanged = images.center_square_resize(image, 224)
    for name in ("blur_probability", "sharpen_probability", "jpeg_probability", "vignette_probability"):
        changed = [not np.array_equal(render(image, 224, seed, **{name: 0.3}), unchanged) for seed in range(150)]
        assert np.mean(changed) == pytest.approx(0.3, abs=0.1), name


def test_sharpen_enhances_edges_and_keeps_flat_regions():
    edge = np.full((64, 64, 3), 90, np.float32)
    edge[:, 32:] = 150
    sharpened = transforms.sharpen(edge, 2, 150)
    assert sharpened[:, 28:32].min() < 90 and sharpened[:, 32:36].max() > 150
    assert (sharpened[:, :20] == 90).all() and (sharpened[:, 44:] == 150).all()


def test_render_matches_reference_hash_without_sharpening(settings):
    never, always = (settings.augment.model_copy(update={"sharpen_probability": probability}) for probability in (0, 1))
    digest = hashlib.sha256()
    for number in range(4):
        image = textured(number, 200, 150)
        plain, sharpened = (
            transforms.render(image, 96, params, transforms.random_generator(0, "a.jpg", number)) for params in (never, always)
        )
        digest.update(plain.tobytes())
        assert 0 < np.abs(plain.astype(int) - sharpened).mean() < 60
    assert digest.hexdigest() == "5df7ade27fa290893c63f44cada2955e7b979471bcfdb307b39e999902dcf034"


def test_random_generator_depends_on_seed_path_and_number():
    def first_value(*key):
        return transforms.random_generator(*key).random()

    assert first_value(0, "nevus/a.jpg", 1) == first_value(0, "nevus/a.jpg", 1)
    assert len({first_value(seed, path, number) for seed in (0, 1) for path in ("a", "b") for number in (0, 1)}) == 8


def test_render_needs_less_memory_than_large_image():
    image = Image.fromarray(np.full((2000, 3000, 3), 128, np.uint8))
    tracemalloc.start()
    render(image, 224, 3, rotation=180, shift=0.5, zoom=(0.25, 4))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3000 * 2000 * 3
