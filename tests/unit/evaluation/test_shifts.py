import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from components.core.reports.evaluation import CollectionResult, Estimate
from components.evaluation import bootstrap, report, robustness, shifts
from components.evaluation.predictions import Predictions
from components.evaluation.shifts import SHIFTS
from components.imaging import images
from components.imaging.model_input import ModelInput
from tests.support.images import noise, textured

GREY = Image.new("RGB", (40, 30), (100, 100, 100))


def array(image):
    return np.asarray(image).astype(int)


def disc(radius, width=200, height=150):
    down, across = np.ogrid[:height, :width]
    inside = (across - (width - 1) / 2) ** 2 + (down - (height - 1) / 2) ** 2 <= radius**2
    return Image.fromarray(np.repeat(np.where(inside, 0, 255).astype(np.uint8)[..., None], 3, axis=2))


def dark_area(image):
    return int((array(image)[..., 0] < 128).sum())


@pytest.mark.parametrize(
    ("name", "size"), [("square_crop", (150, 150)), ("narrow", (150, 150)), ("wide", (200, 112)), ("zoom_0.7", (200, 150))]
)
def test_a_shift_of_shape_gives_the_size_it_should(name, size):
    assert SHIFTS[name](textured(1)).size == size


@given(width=st.integers(1, 70), height=st.integers(1, 70), name=st.sampled_from(sorted(SHIFTS)))
def test_every_shift_takes_every_size_gives_rgb_and_leaves_its_input_alone(width, height, name):
    image = noise(5).resize((width, height))
    before = image.tobytes()
    changed = SHIFTS[name](image)
    assert changed.mode == "RGB"
    assert min(changed.size) >= 1
    assert changed.size == image.size or name in ("square_crop", "narrow", "wide")
    assert image.tobytes() == before
    assert SHIFTS[name](image).tobytes() == changed.tobytes()


@pytest.mark.parametrize("name", sorted(SHIFTS))
def test_a_shift_shows_in_what_the_model_sees_but_for_the_crop_that_fit_makes_itself(name):
    image = textured(2)
    moved = np.abs(images.center_square_resize(SHIFTS[name](image), 96).astype(int) - images.center_square_resize(image, 96)).mean()
    assert moved < 0.1 if name == "square_crop" else moved > 0.5


def test_a_square_crop_is_of_the_centre():
    assert (array(shifts.square_crop(textured(3))) == array(textured(3))[:, 25:175]).all()


@pytest.mark.parametrize(("name", "scale"), [("zoom_0.7", 0.7), ("zoom_1.5", 1.5)])
def test_a_zoom_scales_the_area_by_its_square_and_keeps_the_centre(name, scale):
    image = disc(30)
    zoomed = SHIFTS[name](image)
    assert dark_area(zoomed) / dark_area(image) == pytest.approx(scale**2, rel=0.03)
    down, across = np.nonzero(array(zoomed)[..., 0] < 128)
    assert (down.mean(), across.mean()) == pytest.approx((74.5, 99.5), abs=0.6)


def test_what_a_zoom_shows_of_the_outside_is_mirrored():
    left_dark = Image.new("RGB", (100, 100), (255, 255, 255))
    left_dark.paste((0, 0, 0), (0, 0, 10, 100))
    seen = array(shifts.zoom(left_dark, 0.7))[50, :, 0]
    edge = round(100 * 0.15)
    assert seen[edge - 5 : edge + 5].max() == 0
    assert seen[:4].min() == 255


def test_narrow_and_wide_change_one_side_alone():
    round_thing = disc(40)
    assert dark_area(SHIFTS["narrow"](round_thing)) / dark_area(round_thing) == pytest.approx(0.75, rel=0.03)
    assert SHIFTS["narrow"](round_thing).height == round_thing.height
    assert SHIFTS["wide"](round_thing).width == round_thing.width


@pytest.mark.parametrize(
    ("name", "colour"),
    [
        ("white_balance_warm", (110, 100, 90)),
        ("white_balance_cool", (90, 100, 110)),
        ("exposure_dark", (75, 75, 75)),
        ("exposure_bright", (125, 125, 125)),
    ],
)
def test_a_shift_of_colour_scales_each_channel(name, colour):
    assert SHIFTS[name](GREY).getpixel((7, 7)) == colour


def test_bright_ends_at_white():
    assert SHIFTS["exposure_bright"](Image.new("RGB", (3, 3), (250, 210, 200))).getpixel((1, 1)) == (255, 255, 250)


def test_blur_takes_detail_and_not_light():
    image = textured(4)
    blurred = SHIFTS["blur"](image)
    assert array(blurred).mean() == pytest.approx(array(image).mean(), abs=0.5)
    assert np.abs(np.diff(array(blurred), axis=1)).mean() < 0.8 * np.abs(np.diff(array(image), axis=1)).mean()


def test_sharpening_keeps_the_light_and_grows_from_mild_to_strong():
    image = textured(4)
    steps = [np.abs(np.diff(array(SHIFTS[name](image)), axis=1)).mean() for name in ("sharpened_mild", "sharpened_strong")]
    assert np.abs(np.diff(array(image), axis=1)).mean() * 1.1 < steps[0] < steps[1]
    assert array(SHIFTS["sharpened_mild"](image)).mean() == pytest.approx(array(image).mean(), abs=1)


@pytest.mark.parametrize(("name", "radius", "percent"), [("mild", 2, 100), ("strong", 2, 200), ("wide", 4, 150)])
def test_a_picture_of_224_px_is_sharpened_by_whole_pixels(name, radius, percent):
    image = textured(6, 300, 224)
    assert SHIFTS[f"sharpened_{name}"](image).tobytes() == image.filter(ImageFilter.UnsharpMask(radius, percent, 0)).tobytes()


def test_under_a_shift_a_picture_is_brought_to_the_one_resolution_after_it(tmp_path):
    textured(7, 400, 300).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    seen = robustness.shifted_views(content, ModelInput(96, 60))
    for name in ("square_crop", "sharpened_strong"):
        assert np.array_equal(seen[name], images.center_square_resize(images.downsample_to(SHIFTS[name](textured(7, 400, 300)), 60), 96))
    assert np.abs(seen["square_crop"].astype(int) - images.load_pixels(content, 96, 60)).mean() < 0.3


def test_jpeg_is_close_and_not_the_same():
    image = textured(5)
    difference = np.abs(array(SHIFTS["jpeg_40"](image)) - array(image))
    assert 0.5 < difference.mean() < 12


def test_a_vignette_darkens_the_corners_alike_and_leaves_the_middle():
    darkened = array(SHIFTS["vignette"](Image.new("RGB", (200, 100), (200, 200, 200))))[..., 0]
    assert (darkened[40:60, 80:120] == 200).all()
    corners = darkened[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert set(corners) == {round(200 * (1 - 0.6))}
    assert darkened[50, 0] == pytest.approx(200 * (1 - 0.6 * 0.6**2), abs=1.5)


def test_costs_are_of_the_originals_decoded_once_and_paired(tmp_path, monkeypatch):
    rows = [(f"{name}{at}.png", name, f"{name}{at}") for name in ("melanoma", "nevus") for at in range(20)]
    frame = pd.DataFrame(rows, columns=["path", "diagnosis", "group"])
    for at, row in enumerate(frame.itertuples()):
        level = 150 if row.diagnosis == "melanoma" else 210
        Image.new("RGB", (48, 32), (level + at % 3, 100, 100)).save(tmp_path / row.path)
    frame["pixels_sha256"] = frame["path"]

    def classify(pixels):
        """Calls melanoma what is dark."""
        called = np.where(pixels[..., 0].mean(axis=(1, 2)) < 180, 3, 4)
        return np.eye(9)[called] * 0.91 + 0.01

    decoded = []
    decode = images.decode
    monkeypatch.setattr(images, "decode", lambda content, least=None: decoded.append(1) or decode(content, least))
    clean = Predictions(
        frame, classify(np.stack([images.load_pixels((tmp_path / path).read_bytes(), 16) for path in frame["path"]])), "multiclass"
    )
    decoded.clear()
    shifted = robustness.predict_under_shifts(classify, clean, ModelInput(16, None), tmp_path)
    costs = robustness.shift_drops(clean, shifted, bootstrap.cluster_bootstrap_indices(frame["group"].to_numpy(), 100, 0), 15)
    assert len(decoded) == len(frame)
    assert list(costs) == list(SHIFTS)
    assert costs["blur"].drop == Estimate(0.0, 0.0, 0.0)
    assert costs["exposure_dark"].balanced_accuracy == 0.5
    assert costs["exposure_dark"].drop.value == 0.5
    assert shifts.worst_shift(costs) in ("exposure_dark", "exposure_bright")
    example = (tmp_path / frame["path"][0]).read_bytes()
    drop = Estimate(0.1, 0.0, 0.2)
    left_out = {"HAM10000": CollectionResult(images=10, classes=("melanoma", "nevus"), balanced_accuracy=0.6, drop=drop)}
    report.draw_shifts(costs, left_out, tmp_path)
    report.draw_shift_examples(example, ModelInput(16, None), tmp_path)
    table = pd.read_csv(tmp_path / "shifts.csv").set_index("shift")
    assert table.loc["exposure_dark", ["balanced_accuracy", "drop"]].tolist() == [0.5, 0.5]
    assert (tmp_path / "shifts.png").stat().st_size > 5000
    assert (tmp_path / "shifts_examples.png").exists()
