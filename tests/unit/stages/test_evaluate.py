from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from components import evaluate, split
from components.core import decision
from components.core.label_set import LabelSet
from components.core.paths import SPLITS
from components.data_quality import attributes, dataset
from components.evaluation import calibration, scoring, view_counts
from components.evaluation.predictions import Predictions
from components.modeling import classifier
from tests.support.labels import BENIGN_MALIGNANT, CLASSES, ISIC9, ISIC9_DEFINITION, RASH

MALIGNANT_FIRST = LabelSet(name="own", outputs=("malignant", "benign"), malignant=("malignant",), critical="malignant")


def random_predictions(labels: LabelSet, images: int = 200) -> tuple[Predictions, np.ndarray]:
    random = np.random.default_rng(0)
    diagnosis = random.choice(labels.outputs, images)
    logits = random.normal(size=(images, labels.logits)).astype(np.float32)
    frame = pd.DataFrame({"diagnosis": diagnosis})
    return Predictions(frame, classifier.probabilities(logits), labels), logits


def sensitivity(predictions: Predictions) -> float:
    return float(predictions.called_critical[predictions.critical].mean())


@pytest.mark.parametrize("labels", [ISIC9, BENIGN_MALIGNANT, MALIGNANT_FIRST], ids=lambda labels: labels.name)
@pytest.mark.parametrize("target", [0.3, 0.7, 0.95])
@pytest.mark.parametrize("views", [1, 8])
def test_lift_reaches_target_sensitivity_and_hardly_more(labels, target, views):
    predictions, logits = random_predictions(labels)
    several = np.stack([logits + np.random.default_rng(view).normal(size=logits.shape).astype(np.float32) for view in range(8)])
    calibrated = replace(predictions, probabilities=view_counts.mean_probabilities(several, 1.7, views))
    lift = calibration.critical_lift(calibrated, 1.7, target)
    named = decision.named_outputs(calibrated.probabilities.astype(np.float32), calibration.decision_offsets(labels, lift, 1.7))
    lifted = replace(calibrated, named=named)
    assert sensitivity(lifted) >= target
    assert sensitivity(lifted) < max(target, sensitivity(calibrated)) + 0.06
    assert lift >= 0


def test_lift_is_zero_when_sensitivity_is_sufficient():
    predictions, logits = random_predictions(ISIC9)
    assert calibration.critical_lift(predictions, 1.0, 0.0) == 0
    logits[:, CLASSES.index("melanoma")] += 10
    assert calibration.critical_lift(replace(predictions, probabilities=classifier.probabilities(logits)), 1.0, 0.7) == 0
    assert calibration.critical_lift(random_predictions(RASH)[0], 1.0, 0.9) == 0


def test_lift_is_in_units_of_the_logit():
    predictions, logits = random_predictions(ISIC9)
    sharp = replace(predictions, probabilities=classifier.probabilities(logits, 1.0))
    flat = replace(predictions, probabilities=classifier.probabilities(logits, 2.0))
    assert calibration.critical_lift(flat, 2.0, 0.9) == pytest.approx(calibration.critical_lift(sharp, 1.0, 0.9), abs=1e-3)


def test_lift_changes_named_diagnosis_and_no_probability():
    found = np.array([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]])
    assert decision.named_outputs(found).tolist() == [0, 0]
    assert decision.named_outputs(found, (0.0, 0.6, 0.0)).tolist() == [1, 0]
    assert found.tolist() == [[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]]


@pytest.mark.parametrize("known", [True, False])
def test_subgroups_are_read_from_splits_and_stay_out_of_predictions(tmp_path, monkeypatch, settings, known):
    monkeypatch.chdir(tmp_path)
    paths = [f"{CLASSES[number % 9]}/{number}.jpg" for number in range(90)]
    metadata = pd.DataFrame({"sex": ["Female", "MALE", "unknown"] * 30, "age_approx": "60.0"}, index=paths) if known else None
    frame = dataset.add_labels(pd.DataFrame({"path": paths}), metadata, ISIC9_DEFINITION)
    frame = frame.assign(pixels_sha256=paths, group=range(90), width=600, height=450)[split.COLUMNS].assign(side="test")
    SPLITS.parent.mkdir()
    frame.to_parquet(SPLITS)
    images = scoring.rows_for_paths(paths[::-1], "test")[scoring.IMAGE_COLUMNS]
    scored = Predictions(images, np.eye(9)[ISIC9.encode(images["diagnosis"])], ISIC9)
    measured = evaluate.measure_subgroups(scored, 0.5, settings)
    assert {value: row.images for value, row in measured.get("sex", {}).items()} == ({"female": 30, "male": 30} if known else {})
    assert set(measured) == ({"sex"} if known else set())
    assert not set(scored.table().columns) & {*attributes.READERS, "patient_id"}
