import numpy as np
import pandas as pd
import pytest

from components.core.classes import CLASSES
from components.evaluation import calibration
from components.evaluation.predictions import Predictions
from components.modeling import classifier


def scored(task: str, images: int = 200) -> tuple[Predictions, np.ndarray]:
    random = np.random.default_rng(0)
    diagnosis = random.choice(CLASSES, images)
    logits = random.normal(size=(images, 9 if task == "multiclass" else 1)).astype(np.float32)
    frame = pd.DataFrame({"diagnosis": diagnosis})
    return Predictions(frame, classifier.probabilities(logits, task), task), logits


def sensitivity(found: Predictions) -> float:
    return float(found.called_critical[found.critical].mean())


@pytest.mark.parametrize("task", ["multiclass", "binary"])
@pytest.mark.parametrize("wanted", [0.3, 0.7, 0.95])
def test_the_operating_point_finds_as_many_melanomas_as_asked_for_and_hardly_more(task, wanted):
    found, logits = scored(task)
    lift = calibration.operating_point(found, logits, wanted)
    lifted = Predictions(found.images, classifier.probabilities(logits + lift, task), task)
    assert sensitivity(lifted) >= wanted
    assert sensitivity(lifted) < max(wanted, sensitivity(found)) + 0.06
    assert lift.min() >= 0
    assert np.count_nonzero(lift) <= 1


def test_a_model_that_finds_enough_melanomas_is_left_as_it_is():
    found, logits = scored("multiclass")
    assert not calibration.operating_point(found, logits, 0.0).any()
    logits[:, CLASSES.index("melanoma")] += 10
    assert not calibration.operating_point(found, logits, 0.7).any()
