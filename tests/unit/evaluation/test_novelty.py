import hashlib

import numpy as np
import pytest

from components.evaluation import novelty
from components.evaluation.bootstrap import Resampling
from components.evaluation.non_lesions import KINDS
from components.evaluation.novelty import Seen
from tests.support.images import textured


def bools(text: str) -> np.ndarray:
    return np.array([letter == "1" for letter in text])


def test_share_of_new_images_beyond_the_threshold_is_kept():
    random, beyond = np.random.default_rng(0), []
    for _ in range(400):
        threshold = novelty.novelty_threshold(random.gamma(2, size=99), 0.05)
        beyond.append((random.gamma(2, size=200) > threshold).mean())
    assert np.mean(beyond) == pytest.approx(0.05, abs=0.005)


@pytest.mark.parametrize(("count", "share", "rank"), [(49, 0.02, 49), (48, 0.02, None), (99, 0.02, 98), (99, 0.0, None), (9, 0.1, 9)])
def test_threshold_is_a_distance_of_the_calibration_images(count, share, rank):
    distances = np.random.default_rng(1).permutation(np.arange(1.0, count + 1))
    assert novelty.novelty_threshold(distances, share) == rank


def test_false_alarms_are_counted_by_reason_and_class():
    seen = Seen(bools("110000"), bools("011000"), bools("000001"))
    resampling = Resampling.of_groups(np.arange(6), 100, 0)
    found = novelty.measure_false_alarms(seen, np.array(["nevus"] * 3 + ["melanoma"] * 3), resampling)
    assert found.either.value == pytest.approx(3 / 6)
    assert found.not_dermoscopic.value == pytest.approx(2 / 6)
    assert found.unlike_training.value == pytest.approx(2 / 6)
    assert {name: row.value for name, row in found.by_class.items()} == {"melanoma": 0.0, "nevus": 1.0}
    assert found.by_class["melanoma"].high > 0.5  # three images


def test_non_lesions_are_counted_by_kind():
    made = {"noise": Seen(bools("1100"), bools("0110"), bools("0011")), "clouds": Seen(bools("0000"), bools("0000"), bools("1100"))}
    found = novelty.measure_non_lesions(made, 100, 0)
    noise, clouds = found["noise"], found["clouds"]
    assert (noise.detected.value, noise.not_dermoscopic, noise.unlike_training, noise.too_uncertain) == (0.75, 2, 2, 2)
    assert (noise.answered, noise.pictures) == (0, 4)
    assert (clouds.detected.value, clouds.answered) == (0.0, 2)
    assert novelty.share_detected(Seen.joined(list(made.values())), 100, 0).value == 3 / 8


@pytest.mark.parametrize("kind", KINDS)
def test_made_pictures_are_of_their_seed(kind):
    def digest(seed: int, example: int = 0) -> str:
        picture = KINDS[kind](np.random.default_rng(seed), textured(example))
        assert picture.mode == "RGB"
        assert min(picture.size) >= 100
        return hashlib.sha256(picture.tobytes()).hexdigest()

    assert digest(1) == digest(1)
    assert digest(1) != digest(2, example=1)
