import io
from dataclasses import replace

import numpy as np
import pytest

from components.core.label_set import LabelSet
from components.evaluation import repeatability, view_counts
from components.evaluation.bootstrap import Resampling
from components.imaging import images
from components.imaging.model_input import ModelInput
from components.imaging.symmetries import VIEW_COUNTS, symmetric_views
from tests.support.images import noise
from tests.support.labels import ISIC9
from tests.unit.evaluation.test_view_counts import noisy_views

TWO = LabelSet(name="two", outputs=("benign", "melanoma"), malignant=("melanoma",), critical="melanoma")


def fit_of(count, labels=ISIC9):
    found, logits = noisy_views(labels)
    return view_counts.fit_views(found, logits, count, 0.0), logits


def resampling(count):
    return Resampling.of_groups(np.arange(count), 50, seed=0)


@pytest.mark.parametrize("count", VIEW_COUNTS)
def test_answers_at_symmetries_are_those_of_mirrored_and_turned_images(count):
    fit, _ = fit_of(count)
    pixels = np.random.default_rng(1).integers(0, 256, (3, 6, 6, 3)).astype(np.float32)
    weights = np.random.default_rng(2).normal(size=(6 * 6 * 3, 9)).astype(np.float32) / 300

    def predict(found):
        return np.ascontiguousarray(found).reshape(len(found), -1) @ weights

    answers = repeatability.symmetric_answers(fit, repeatability.logits_of_views(predict, pixels))
    for number, turned in enumerate(symmetric_views(pixels, 8)):
        expected = fit.probabilities(repeatability.logits_of_views(predict, turned))
        assert answers[number] == pytest.approx(expected, abs=1e-5)


def test_eight_views_answer_alike_at_all_symmetries():
    for count, largest in ((1, 1.0), (8, 0.0)):
        fit, logits = fit_of(count)
        assert repeatability.changed_share(fit, logits) <= largest
        answers = repeatability.symmetric_answers(fit, logits)
        assert (np.ptp(answers, axis=0).max() == 0) == (count == 8)


def test_repeatability_counts_diagnoses_and_triage_calls():
    fit = replace(fit_of(1)[0], critical_lift=0.0)
    fit = replace(fit, scored=replace(fit.scored, labels=TWO, probabilities=fit.scored.probabilities[:, :2]))
    melanoma = np.array([[0.1, 0.4, 0.6, 0.2], [0.1, 0.6, 0.9, 0.4]])
    found = repeatability.measure_repeatability(np.stack([1 - melanoma, melanoma], axis=2), fit, 0.3, resampling(4))
    assert found.changed_diagnosis.value == 0.25
    assert found.crosses_triage.value == 0.25
    differences = melanoma[1] - melanoma[0]
    assert found.limit_of_agreement.value == pytest.approx(1.96 * np.sqrt((differences**2).mean()))
    assert found.limit_of_agreement.low <= found.limit_of_agreement.value <= found.limit_of_agreement.high
    assert found.changed_diagnosis.low < 0.01 and found.changed_diagnosis.high > 0.8  # exact, with four groups


def test_label_set_without_benign_class_has_changed_diagnoses_alone():
    fit, logits = fit_of(2)
    found = repeatability.measure_repeatability(repeatability.symmetric_answers(fit, logits), fit, None, resampling(300))
    assert set(found.figures) == {"changed_diagnosis"}


def test_changed_pixels_are_moved_by_one_pixel_of_the_input_and_compressed_again():
    stream = io.BytesIO()
    noise(1, 64).save(stream, "PNG")
    found = repeatability.changed_pixels(stream.getvalue(), ModelInput(16, None))
    plain = images.load_pixels(stream.getvalue(), 16)
    assert np.array_equal(found["shift_1_px"][:, 1:], plain[:, :-1]) and np.array_equal(found["shift_1_px"][:, 0], plain[:, 0])
    difference = np.abs(found["jpeg_95"].astype(int) - plain)
    assert 0 < difference.max() < 40
    assert {name: pixels.shape for name, pixels in found.items()} == {"shift_1_px": (16, 16, 3), "jpeg_95": (16, 16, 3)}


def test_changed_images_are_predicted_at_every_view(tmp_path):
    for number in range(3):
        noise(number, 20).save(tmp_path / f"{number}.png")

    def predict(pixels):
        return pixels.reshape(len(pixels), -1)[:, :9].astype(np.float32)

    found = repeatability.predict_changed(predict, ["0.png", "1.png", "2.png"], ModelInput(16, None), tmp_path)
    assert {name: logits.shape for name, logits in found.items()} == {"shift_1_px": (8, 3, 9), "jpeg_95": (8, 3, 9)}
    content = (tmp_path / "1.png").read_bytes()
    expected = predict(symmetric_views(repeatability.changed_pixels(content, ModelInput(16, None))["jpeg_95"][None], 8)[5])
    assert np.array_equal(found["jpeg_95"][5, 1], expected[0])
