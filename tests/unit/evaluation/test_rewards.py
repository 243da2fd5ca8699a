import numpy as np
import pytest
import yaml

from components.core.errors import LesionflowError
from components.core.label_set import LabelSet
from components.data_quality.label_definitions import read_definitions
from components.evaluation.bootstrap import Resampling
from components.evaluation.clinic import rewards
from components.evaluation.clinic.decisions import measure_rewards
from components.evaluation.predictions import Predictions
from tests.support.clinic import calibrated_predictions
from tests.support.labels import ISIC9
from tests.support.project import ROOT

TABLE = rewards.read_table("barata2023", ROOT / "utilities")
SMALL = {
    "description": "two classes",
    "source": "a test",
    "license": "none",
    "classes": {"X": ["x"], "Y": ["y", "z"]},
    "rewards": {"X": {"X": 5, "Y": -5}, "Y": {"X": -1, "Y": 1}},
}


def write(folder, **changes):
    (folder / "own.yaml").write_text(yaml.safe_dump({**SMALL, **changes}), encoding="utf-8")
    return rewards.read_table("own", folder)


@pytest.mark.parametrize("name", ["isic9", "isic8", "ham7", "pad6"])
def test_shipped_table_has_place_for_every_diagnosis(name):
    outputs = tuple(read_definitions(ROOT / "labels")[name].classes)
    assert TABLE.without_place(outputs) == []
    assert TABLE.class_of("squamous_cell_carcinoma") == TABLE.class_of("actinic_keratosis") == "AKIEC"


def test_shipped_table_is_that_of_the_source():
    matrix = TABLE.matrix(("AKIEC", "BCC", "BKL", "DF", "MEL", "NV", "VASC"))
    assert np.diag(matrix).tolist() == [2, 3, 1, 1, 5, 1, 1]
    assert matrix[4].tolist() == [-4, -3, -5, -5, 5, -5, -5]
    assert matrix[0].tolist() == [2, -2, -3, -3, -2, -3, -3]
    assert matrix.sum() == -101


def test_decision_prefers_costly_class_at_low_probability(tmp_path):
    table = write(tmp_path)
    labels = LabelSet(name="own", outputs=("z", "x", "y"), malignant=(), critical=None)
    scored = calibrated_predictions(6, labels)
    probabilities = np.array([[0.3, 0.3, 0.4], [0.5, 0.1, 0.4], [0.2, 0.6, 0.2], [0.4, 0.2, 0.4], [0.9, 0.05, 0.05], [0.3, 0.3, 0.4]])
    images = scored.images.assign(diagnosis=["x", "y", "x", "z", "y", "y"])
    found = measure_rewards(Predictions(images, probabilities, labels), table, Resampling.of_groups(np.arange(6), 100, 0))
    assert found.classes == {"z": "Y", "x": "X", "y": "Y"}
    # X is worth 10 p and Y 2 (1 - p), so X is named from p = 1/6 on: for all but the second and the fifth image.
    assert found.expected_reward.accuracy.value == pytest.approx(4 / 6)
    assert found.argmax.accuracy.value == pytest.approx(5 / 6)
    assert found.expected_reward.mean_reward.value == pytest.approx((5 + 1 + 5 - 1 + 1 - 1) / 6)
    assert found.argmax.mean_reward.value == pytest.approx((-5 + 1 + 5 + 1 + 1 + 1) / 6)
    assert found.argmax.sensitivity_by_class["X"].value == pytest.approx(1 / 2)
    assert found.expected_reward.balanced_accuracy.value == pytest.approx((1 + 2 / 4) / 2)


def test_expected_reward_is_higher_than_argmax_on_calibrated_probabilities():
    scored = calibrated_predictions(3000)
    found = measure_rewards(scored, TABLE, Resampling.of_groups(np.arange(3000), 100, 0))
    assert found.expected_reward.mean_reward.low > found.argmax.mean_reward.value
    assert set(found.argmax.sensitivity_by_class) == set(TABLE.classes)


def test_outputs_of_one_class_leave_no_decision():
    labels = LabelSet(name="own", outputs=("actinic_keratosis", "squamous_cell_carcinoma"), malignant=(), critical=None)
    assert measure_rewards(calibrated_predictions(20, labels), TABLE, Resampling.of_groups(np.arange(20), 100, 0)) is None
    assert TABLE.without_place((*ISIC9.outputs, "acne")) == ["acne"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rewards": {"X": {"X": 1, "Y": 0}}}, "rewards: the keys must be those of classes: X, Y"),
        ({"rewards": {"X": {"X": 1}, "Y": {"X": 1, "Y": 1}}}, "rewards.X: the keys must be those of classes: X, Y"),
        ({"classes": {"X": ["x"], "Y": ["x"]}}, "classes: x belongs to more than one class"),
        ({"rewards": {"X": {"X": "much", "Y": 1}, "Y": {"X": 1, "Y": 1}}}, "rewards.X.X: 'much' is not allowed"),
        ({"more": 1}, "own.yaml: more"),
    ],
)
def test_wrong_table_is_an_error_that_names_the_key(tmp_path, changes, message):
    with pytest.raises(LesionflowError) as error:
        write(tmp_path, **changes)
    assert str(tmp_path / "own.yaml") in str(error.value)
    assert message in str(error.value)


def test_missing_table_names_the_param(tmp_path):
    with pytest.raises(LesionflowError, match=r"own\.yaml, which evaluate\.utilities names"):
        rewards.read_table("own", tmp_path)
    (tmp_path / "own.yaml").write_text("[]")
    with pytest.raises(LesionflowError, match="must be a mapping"):
        rewards.read_table("own", tmp_path)
