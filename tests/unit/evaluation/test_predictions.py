from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from components.core.label_set import LabelSet
from components.evaluation import bootstrap, former_predictions
from components.evaluation.predictions import HEADLINE_METRICS, Predictions, defined, paired_difference
from tests.support.labels import BENIGN_MALIGNANT, CLASSES, ISIC9, MALIGNANT, RASH


def random_predictions(labels: LabelSet = ISIC9, accuracy: float = 0.8, seed: int = 0) -> Predictions:
    random = np.random.default_rng(seed)
    diagnoses = np.repeat(CLASSES, 10)
    images = pd.DataFrame({"path": [f"{i}.jpg" for i in range(90)], "pixels_sha256": [f"{i:064x}" for i in range(90)]})
    images = images.assign(diagnosis=diagnoses, group=np.arange(90) // 2)
    outputs = len(labels.outputs)
    if labels != ISIC9:
        images["diagnosis"] = [labels.outputs[name in MALIGNANT] for name in diagnoses]
    blank = Predictions(images, np.zeros((90, outputs)), labels)
    predicted = np.where(random.random(90) < accuracy, blank.truth, random.integers(0, outputs, 90))
    return Predictions(images, np.eye(outputs)[predicted] * 0.7 + 0.3 / outputs, labels)


@pytest.mark.parametrize("labels", [ISIC9, BENIGN_MALIGNANT, RASH], ids=lambda labels: labels.name)
def test_headline_metrics_lie_within_their_intervals(labels):
    model = random_predictions(labels)
    for name, estimate in model.estimates(
        defined(HEADLINE_METRICS, labels), bootstrap.cluster_bootstrap_indices(model.images["group"].to_numpy(), 100, 0), 15
    ).items():
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1, name


def test_called_malignant_sums_malignant_probabilities():
    images = pd.DataFrame({"path": ["a"], "pixels_sha256": ["0"], "diagnosis": ["melanoma"], "group": [0]})
    probabilities = np.zeros((1, 9))
    probabilities[0, [CLASSES.index("melanoma"), CLASSES.index("basal_cell_carcinoma"), CLASSES.index("nevus")]] = [0.3, 0.3, 0.4]
    model = Predictions(images, probabilities, ISIC9)
    assert model.called_malignant.tolist() == [True]
    assert model.called_critical.tolist() == [False]


def test_former_binary_task_keeps_melanoma_sensitivity():
    images = pd.DataFrame(
        {"path": ["a", "b"], "pixels_sha256": ["0", "1"], "diagnosis": ["melanoma", "basal_cell_carcinoma"], "group": [0, 1]}
    )
    table = former_predictions.with_output_diagnoses(images.assign(p_benign=[0.2, 0.9], p_malignant=[0.8, 0.1]), BENIGN_MALIGNANT)
    model = Predictions.of_table(table, BENIGN_MALIGNANT)
    assert model.truth.tolist() == [1, 1]
    assert model.headline("critical_sensitivity", np.arange(2), 15) == 1.0
    assert model.headline("malignant_sensitivity", np.arange(2), 15) == 0.5


def test_metrics_that_a_label_set_does_not_tell_are_not_defined():
    assert defined(HEADLINE_METRICS, ISIC9) == HEADLINE_METRICS
    assert defined(HEADLINE_METRICS, RASH) == ("balanced_accuracy", "accuracy", "macro_f1", "macro_auc", "calibration_error")
    with pytest.raises(ValueError, match="label set rash has no critical class"):
        _ = random_predictions(RASH).called_critical


def test_predictions_table_round_trip():
    model = random_predictions()
    restored = Predictions.of_table(model.table(), model.labels)
    assert np.array_equal(restored.probabilities, model.probabilities)
    assert restored.images.equals(model.images)
    named = replace(model, named=(model.predicted + 1) % 9)
    assert np.array_equal(Predictions.of_table(named.table(), model.labels).predicted, named.named)
    assert np.array_equal(Predictions.of_table(named.table().drop(columns="predicted"), model.labels).predicted, model.predicted)


def test_paired_difference_detects_gain_and_requires_same_images():
    better, worse = random_predictions(accuracy=0.9, seed=1), random_predictions(accuracy=0.5, seed=2)
    samples = bootstrap.cluster_bootstrap_indices(better.images["group"].to_numpy(), 200, 0)
    gain = paired_difference(better, worse, "balanced_accuracy", samples, 15)
    assert gain.low > 0
    shuffled = Predictions(worse.images.iloc[::-1].reset_index(drop=True), worse.probabilities, ISIC9)
    with pytest.raises(ValueError, match="same images in the same order"):
        paired_difference(better, shuffled, "accuracy", samples, 15)


def test_perfect_model_on_few_melanomas_has_wide_interval():
    perfect = random_predictions(accuracy=1.1)
    estimates = perfect.estimates(HEADLINE_METRICS, bootstrap.cluster_bootstrap_indices(perfect.images["group"].to_numpy(), 100, 0), 15)
    assert estimates["critical_sensitivity"].low == pytest.approx(0.025 ** (1 / 5))  # ten melanoma images of five lesions
    assert estimates["malignant_specificity"].low < 0.95
    assert estimates["accuracy"].low < 0.97


def test_few_groups_counts_lesions_of_small_classes():
    model = random_predictions()
    assert model.few_groups() == dict.fromkeys(CLASSES, 5)
    assert Predictions(model.images.assign(group=np.arange(90)), model.probabilities, ISIC9).few_groups() == {}


def test_recall_interval_counts_lesions():
    recalls = random_predictions(accuracy=1.1).recalls(bootstrap.cluster_bootstrap_indices(np.arange(90) // 2, 100, 0))
    assert list(recalls) == list(CLASSES)
    assert {(row.value, row.high) for row in recalls.values()} == {(1.0, 1.0)}
    assert recalls["nevus"].low == pytest.approx(0.025 ** (1 / 5))
