import numpy as np
import pandas as pd
import pytest

from components.core.classes import CLASSES
from components.evaluation import bootstrap
from components.evaluation.predictions import HEADLINE_METRICS, Predictions, paired_difference


def scored(task: str = "multiclass", right: float = 0.8, seed: int = 0) -> Predictions:
    random = np.random.default_rng(seed)
    diagnoses = np.repeat(CLASSES, 10)
    images = pd.DataFrame({"path": [f"{i}.jpg" for i in range(90)], "pixels_sha256": [f"{i:064x}" for i in range(90)]})
    images = images.assign(diagnosis=diagnoses, group=np.arange(90) // 2)
    outputs = 9 if task == "multiclass" else 2
    blank = Predictions(images, np.zeros((90, outputs)), task)
    called = np.where(random.random(90) < right, blank.truth, random.integers(0, outputs, 90))
    return Predictions(images, np.eye(outputs)[called] * 0.7 + 0.3 / outputs, task)


@pytest.mark.parametrize("task", ["multiclass", "binary"])
def test_every_headline_comes_with_an_interval_around_it(task):
    model = scored(task)
    for name, estimate in model.estimates(
        HEADLINE_METRICS, bootstrap.cluster_bootstrap_indices(model.images["group"].to_numpy(), 100, 0), 15
    ).items():
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1, name


def test_malignant_probabilities_are_summed():
    images = pd.DataFrame({"path": ["a"], "pixels_sha256": ["0"], "diagnosis": ["melanoma"], "group": [0]})
    probabilities = np.zeros((1, 9))
    probabilities[0, [CLASSES.index("melanoma"), CLASSES.index("basal_cell_carcinoma"), CLASSES.index("nevus")]] = [0.3, 0.3, 0.4]
    model = Predictions(images, probabilities, "multiclass")
    assert model.called_malignant.tolist() == [True]
    assert model.called_critical.tolist() == [False]


def test_melanoma_sensitivity_of_the_binary_task_counts_melanomas_called_malignant():
    images = pd.DataFrame(
        {"path": ["a", "b"], "pixels_sha256": ["0", "1"], "diagnosis": ["melanoma", "basal_cell_carcinoma"], "group": [0, 1]}
    )
    model = Predictions(images, np.array([[0.2, 0.8], [0.9, 0.1]]), "binary")
    assert model.headline("critical_sensitivity", np.arange(2), 15) == 1.0


def test_a_table_reads_back_as_it_was():
    model = scored()
    again = Predictions.of_table(model.table(), model.task)
    assert np.array_equal(again.probabilities, model.probabilities)
    assert again.images.equals(model.images)


def test_a_paired_difference_is_narrower_than_two_intervals_and_refuses_other_images():
    better, worse = scored(right=0.9, seed=1), scored(right=0.5, seed=2)
    samples = bootstrap.cluster_bootstrap_indices(better.images["group"].to_numpy(), 200, 0)
    gain = paired_difference(better, worse, "balanced_accuracy", samples, 15)
    assert gain.low > 0
    shuffled = Predictions(worse.images.iloc[::-1].reset_index(drop=True), worse.probabilities, "multiclass")
    with pytest.raises(ValueError, match="same images in the same order"):
        paired_difference(better, shuffled, "accuracy", samples, 15)


def test_a_perfect_model_on_few_melanomas_is_not_said_to_be_certain():
    perfect = scored(right=1.1)
    few = perfect.estimates(HEADLINE_METRICS, bootstrap.cluster_bootstrap_indices(perfect.images["group"].to_numpy(), 100, 0), 15)
    assert few["critical_sensitivity"].low == pytest.approx(0.025 ** (1 / 5))  # ten melanomas of five lesions
    assert few["malignant_specificity"].low < 0.95
    assert few["accuracy"].low < 0.97


def test_classes_of_few_lesions_are_counted():
    model = scored()
    assert model.few_groups() == dict.fromkeys(CLASSES, 5)
    assert Predictions(model.images.assign(group=np.arange(90)), model.probabilities, "multiclass").few_groups() == {}


def test_the_recall_of_a_class_has_an_interval_that_counts_its_lesions():
    recalls = scored(right=1.1).recalls(bootstrap.cluster_bootstrap_indices(np.arange(90) // 2, 100, 0))
    assert list(recalls) == list(CLASSES)
    assert {(row.value, row.high) for row in recalls.values()} == {(1.0, 1.0)}
    assert recalls["nevus"].low == pytest.approx(0.025 ** (1 / 5))
