import numpy as np
import pandas as pd
import pytest

from components.core.classes import CLASSES
from components.evaluation import calibration
from components.evaluation.predictions import Predictions
from components.modeling import classifier


def random_predictions(task: str, images: int = 200) -> tuple[Predictions, np.ndarray]:
    random = np.random.default_rng(0)
    diagnosis = random.choice(CLASSES, images)
    logits = random.normal(size=(images, 9 if task == "multiclass" else 1)).astype(np.float32)
    frame = pd.DataFrame({"diagnosis": diagnosis})
    return Predictions(frame, classifier.probabilities(logits, task), task), logits


def sensitivity(predictions: Predictions) -> float:
    return float(predictions.called_critical[predictions.critical].mean())


@pytest.mark.parametrize("task", ["multiclass", "binary"])
@pytest.mark.parametrize("target", [0.3, 0.7, 0.95])
def test_operating_point_reaches_target_sensitivity_and_hardly_more(task, target):
    predictions, logits = random_predictions(task)
    lift = calibration.operating_point(predictions, logits, target)
    lifted = Predictions(predictions.images, classifier.probabilities(logits + lift, task), task)
    assert sensitivity(lifted) >= target
    assert sensitivity(lifted) < max(target, sensitivity(predictions)) + 0.06
    assert lift.min() >= 0
    assert np.count_nonzero(lift) <= 1


def test_operating_point_is_zero_when_sensitivity_is_sufficient():
    predictions, logits = random_predictions("multiclass")
    assert not calibration.operating_point(predictions, logits, 0.0).any()
    logits[:, CLASSES.index("melanoma")] += 10
    assert not calibration.operating_point(predictions, logits, 0.7).any()
