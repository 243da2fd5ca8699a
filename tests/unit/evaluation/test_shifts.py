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
from tests.support.labels import ISIC9

GRAY = Image.new("RGB", (40, 30), (100, 100, 100))


def to_array(image):
    return np.asarray(image).astype(int)


def disc(radius, width=200, height=150):
    down, across = np.ogrid[:height, :width]
    inside = (across - (width - 1) / 2) ** 2 + (down - (height - 1) / 2) ** 2 <= radius**2
    return Image.fromarray(np.repeat(np.where(inside, 0, 255).astype(np.uint8)[..., None], 3, axis=2))


def dark_area(image):
    return int((to_array(image)[..., 0] < 128).sum())


@pytest.mark.parametrize(
    ("name", "size"), [("square_crop", (150, 150)), ("narrow", (150, 150)), ("wide", (200, 112)), ("zoom_0.7", (200, 150))]
)
def test_geometric_shift_returns_expected_size(name, size):
    assert SHIFTS[name](textured(1)).size == size


@given(width=st.integers(1, 70), height=st.integers(1, 70), name=st.sampled_from(sorted(SHIFTS)))
def test_shift_accepts_any_size_and_keeps_its_input(width, height, name):
    image = noise(5).resize((width, height))
    before = image.tobytes()
    shifted = SHIFTS[name](image)
    assert shifted.mode == "RGB"
    assert min(shifted.size) >= 1
    assert shifted.size == image.size or name in ("square_crop", "narrow", "wide")
    assert image.tobytes() == before
    assert SHIFTS[name](image).tobytes() == shifted.tobytes()


@pytest.mark.parametrize("name", sorted(SHIFTS))
def test_shift_changes_model_input_except_square_crop(name):
    image = textured(2)
    difference = np.abs(images.center_square_resize(SHIFTS[name](image), 96).astype(int) - images.center_square_resize(image, 96)).mean()
    assert difference < 0.1 if name == "square_crop" else difference > 0.5


def test_square_crop_is_centered():
    assert (to_array(shifts.square_crop(textured(3))) == to_array(textured(3))[:, 25:175]).all()


@pytest.mark.parametrize(("name", "scale"), [("zoom_0.7", 0.7), ("zoom_1.5", 1.5)])
def test_zoom_scales_area_and_keeps_center(name, scale):
    image = disc(30)
    zoomed = SHIFTS[name](image)
    assert dark_area(zoomed) / dark_area(image) == pytest.approx(scale**2, rel=0.03)
    down, across = np.nonzero(to_array(zoomed)[..., 0] < 128)
    assert (down.mean(), across.mean()) == pytest.approx((74.5, 99.5), abs=0.6)


def test_zoom_out_mirrors_image_beyond_its_edges():
    left_dark = Image.new("RGB", (100, 100), (255, 255, 255))
    left_dark.paste((0, 0, 0), (0, 0, 10, 100))
    row = to_array(shifts.zoom(left_dark, 0.7))[50, :, 0]
    edge = round(100 * 0.15)
    assert row[edge - 5 : edge + 5].max() == 0
    assert row[:4].min() == 255


def test_narrow_and_wide_scale_one_axis():
    image = disc(40)
    assert dark_area(SHIFTS["narrow"](image)) / dark_area(image) == pytest.approx(0.75, rel=0.03)
    assert SHIFTS["narrow"](image).height == image.height
    assert SHIFTS["wide"](image).width == image.width


@pytest.mark.parametrize(
    ("name", "color"),
    [
        ("white_balance_warm", (110, 100, 90)),
        ("white_balance_cool", (90, 100, 110)),
        ("exposure_dark", (75, 75, 75)),
        ("exposure_bright", (125, 125, 125)),
    ],
)
def test_color_shift_scales_channels(name, color):
    assert SHIFTS[name](GRAY).getpixel((7, 7)) == color


def test_bright_exposure_clips_at_white():
    assert SHIFTS["exposure_bright"](Image.new("RGB", (3, 3), (250, 210, 200))).getpixel((1, 1)) == (255, 255, 250)


def test_blur_removes_detail_and_keeps_brightness():
    image = textured(4)
    blurred = SHIFTS["blur"](image)
    assert to_array(blurred).mean() == pytest.approx(to_array(image).mean(), abs=0.5)
    assert np.abs(np.diff(to_array(blurred), axis=1)).mean() < 0.8 * np.abs(np.diff(to_array(image), axis=1)).mean()


def test_sharpening_keeps_brightness_and_increases_with_strength():
    image = textured(4)
    gradients = [np.abs(np.diff(to_array(SHIFTS[name](image)), axis=1)).mean() for name in ("sharpened_mild", "sharpened_strong")]
    assert np.abs(np.diff(to_array(image), axis=1)).mean() * 1.1 < gradients[0] < gradients[1]
    assert to_array(SHIFTS["sharpened_mild"](image)).mean() == pytest.approx(to_array(image).mean(), abs=1)


@pytest.mark.parametrize(("name", "radius", "percent"), [("mild", 2, 100), ("strong", 2, 200), ("wide", 4, 150)])
def test_sharpening_radius_is_in_pixels_at_224_px(name, radius, percent):
    image = textured(6, 300, 224)
    assert SHIFTS[f"sharpened_{name}"](image).tobytes() == image.filter(ImageFilter.UnsharpMask(radius, percent, 0)).tobytes()


def test_shifted_views_are_downsampled_after_the_shift(tmp_path):
    textured(7, 400, 300).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    views = robustness.shifted_views(content, ModelInput(96, 60))
    for name in ("square_crop", "sharpened_strong"):
        assert np.array_equal(views[name], images.center_square_resize(images.downsample_to(SHIFTS[name](textured(7, 400, 300)), 60), 96))
    assert np.abs(views["square_crop"].astype(int) - images.load_pixels(content, 96, 60)).mean() < 0.3


def test_jpeg_shift_is_close_to_original():
    image = textured(5)
    difference = np.abs(to_array(SHIFTS["jpeg_40"](image)) - to_array(image))
    assert 0.5 < difference.mean() < 12


def test_vignette_darkens_corners_equally_and_keeps_center():
    darkened = to_array(SHIFTS["vignette"](Image.new("RGB", (200, 100), (200, 200, 200))))[..., 0]
    assert (darkened[40:60, 80:120] == 200).all()
    corners = darkened[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert set(corners) == {round(200 * (1 - 0.6))}
    assert darkened[50, 0] == pytest.approx(200 * (1 - 0.6 * 0.6**2), abs=1.5)


def test_shift_drops_are_paired_and_decode_each_image_once(tmp_path, monkeypatch):
    rows = [(f"{name}{index}.png", name, f"{name}{index}") for name in ("melanoma", "nevus") for index in range(20)]
    frame = pd.DataFrame(rows, columns=["path", "diagnosis", "group"])
    for index, row in enumerate(frame.itertuples()):
        level = 150 if row.diagnosis == "melanoma" else 210
        Image.new("RGB", (48, 32), (level + index % 3, 100, 100)).save(tmp_path / row.path)
    frame["pixels_sha256"] = frame["path"]

    def classify(pixels):
        """Predict melanoma for dark images and nevus for bright ones."""
        predicted = np.where(pixels[..., 0].mean(axis=(1, 2)) < 180, 3, 4)
        return np.eye(9)[predicted] * 0.91 + 0.01, predicted

    decode_calls = []
    decode = images.decode
    monkeypatch.setattr(images, "decode", lambda content, least=None: decode_calls.append(1) or decode(content, least))
    clean = Predictions(
        frame, classify(np.stack([images.load_pixels((tmp_path / path).read_bytes(), 16) for path in frame["path"]]))[0], ISIC9
    )
    decode_calls.clear()
    shifted = robustness.predict_under_shifts(classify, clean, ModelInput(16, None), root=tmp_path)
    drops = robustness.shift_drops(clean, shifted, bootstrap.cluster_bootstrap_indices(frame["group"].to_numpy(), 100, 0), 15)
    assert len(decode_calls) == len(frame)
    assert list(drops) == list(SHIFTS)
    assert drops["blur"].drop == Estimate(0.0, 0.0, 0.0)
    assert drops["exposure_dark"].balanced_accuracy == 0.5
    assert drops["exposure_dark"].drop.value == 0.5
    assert shifts.worst_shift(drops) in ("exposure_dark", "exposure_bright")
    example = (tmp_path / frame["path"][0]).read_bytes()
    drop = Estimate(0.1, 0.0, 0.2)
    by_collection = {"HAM10000": CollectionResult(images=10, classes=("melanoma", "nevus"), balanced_accuracy=0.6, drop=drop)}
    report.draw_shifts(drops, by_collection, tmp_path)
    report.draw_shift_examples(example, ModelInput(16, None), tmp_path)
    table = pd.read_csv(tmp_path / "shifts.csv").set_index("shift")
    assert table.loc["exposure_dark", ["balanced_accuracy", "drop"]].tolist() == [0.5, 0.5]
    assert (tmp_path / "shifts.png").stat().st_size > 5000
    assert (tmp_path / "shifts_examples.png").exists()


@pytest.mark.parametrize("size", [(84, 84), (350, 350), (700, 525), (1400, 84), (450, 600)])
def test_zoomed_box_stays_in_image_despite_rounding(size):
    assert shifts.zoom(Image.new("RGB", size), 0.7).size == size
