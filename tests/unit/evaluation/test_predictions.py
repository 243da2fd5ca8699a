import numpy as np
import pandas as pd
import pytest

from components.core.classes import CLASSES
from components.evaluation import bootstrap
from components.evaluation.predictions import HEADLINE_METRICS, Predictions, paired_difference


def random_predictions(task: str = "multiclass", accuracy: float = 0.8, seed: int = 0) -> Predictions:
    random = np.random.default_rng(seed)
    diagnoses = np.repeat(CLASSES, 10)
    images = pd.DataFrame({"path": [f"{i}.jpg" for i in range(90)], "pixels_sha256": [f"{i:064x}" for i in range(90)]})
    images = images.assign(diagnosis=diagnoses, group=np.arange(90) // 2)
    outputs = 9 if task == "multiclass" else 2
    blank = Predictions(images, np.zeros((90, outputs)), task)
    predicted = np.where(random.random(90) < accuracy, blank.truth, random.integers(0, outputs, 90))
    return Predictions(images, np.eye(outputs)[predicted] * 0.7 + 0.3 / outputs, task)


@pytest.mark.parametrize("task", ["multiclass", "binary"])
def test_headline_metrics_lie_within_their_intervals(task):
    model = random_predictions(task)
    for name, estimate in model.estimates(
        HEADLINE_METRICS, bootstrap.cluster_bootstrap_indices(model.images["group"].to_numpy(), 100, 0), 15
    ).items():
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1, name


def test_called_malignant_sums_malignant_probabilities():
    images = pd.DataFrame({"path": ["a"], "pixels_sha256": ["0"], "diagnosis": ["melanoma"], "group": [0]})
    probabilities = np.zeros((1, 9))
    probabilities[0, [CLASSES.index("melanoma"), CLASSES.index("basal_cell_carcinoma"), CLASSES.index("nevus")]] = [0.3, 0.3, 0.4]
    model = Predictions(images, probabilities, "multiclass")
    assert model.called_malignant.tolist() == [True]
    assert model.called_critical.tolist() == [False]


def test_binary_melanoma_sensitivity_counts_malignant_predictions():
    images = pd.DataFrame(
        {"path": ["a", "b"], "pixels_sha256": ["0", "1"], "diagnosis": ["melanoma", "basal_cell_carcinoma"], "group": [0, 1]}
    )
    model = Predictions(images, np.array([[0.2, 0.8], [0.9, 0.1]]), "binary")
    assert model.headline("critical_sensitivity", np.arange(2), 15) == 1.0


def test_predictions_table_round_trip():
    model = random_predictions()
    restored = Predictions.of_table(model.table(), model.task)
    assert np.array_equal(restored.probabilities, model.probabilities)
    assert restored.images.equals(model.images)


def test_paired_difference_detects_gain_and_requires_same_images():
    better, worse = random_predictions(accuracy=0.9, seed=1), random_predictions(accuracy=0.5, seed=2)
    samples = bootstrap.cluster_bootstrap_indices(better.images["group"].to_numpy(), 200, 0)
    gain = paired_difference(better, worse, "balanced_accuracy", samples, 15)
    assert gain.low > 0
    shuffled = Predictions(worse.images.iloc[::-1].reset_index(drop=True), worse.probabilities, "multiclass")
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
    assert Predictions(model.images.assign(group=np.arange(90)), model.probabilities, "multiclass").few_groups() == {}


def test_recall_interval_counts_lesions():
    recalls = random_predictions(accuracy=1.1).recalls(bootstrap.cluster_bootstrap_indices(np.arange(90) // 2, 100, 0))
    assert list(recalls) == list(CLASSES)
    assert {(row.value, row.high) for row in recalls.values()} == {(1.0, 1.0)}
    assert recalls["nevus"].low == pytest.approx(0.025 ** (1 / 5))
