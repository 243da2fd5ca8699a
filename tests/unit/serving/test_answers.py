import json

import numpy as np
import pytest

from components.serving.answers import Contract, answer, spread

PROBABILITIES = {"melanoma": 0.30, "nevus": 0.45, "keratosis": 0.25}
FULL = Contract(
    outputs=tuple(PROBABILITIES),
    malignant=("melanoma",),
    set_thresholds=(0.2, 0.5, 0.3),
    abstention_threshold=0.4,
    operating_points={"triage": 0.25, "rule_in": 0.8},
    class_shares={"melanoma": 0.5, "nevus": 0.25, "keratosis": 0.25},
)


def test_answer_has_malignancy_points_and_set():
    found = answer(FULL, "nevus", PROBABILITIES)
    assert found.malignant == pytest.approx(0.3)
    assert found.operating_points == {"triage": True, "rule_in": False}
    assert found.prediction_set == ("nevus", "melanoma")  # nevus is below its threshold, but likeliest
    assert found.abstained == ()


def test_answer_has_probabilities_at_shares_of_clinic():
    clinic = FULL.model_copy(update={"clinic_shares": {"melanoma": 0.1, "nevus": 0.8, "keratosis": 0.1}})
    found = answer(clinic, "nevus", PROBABILITIES)
    weights = [0.30 * 0.1 / 0.5, 0.45 * 0.8 / 0.25, 0.25 * 0.1 / 0.25]
    assert list(found.shifted.values()) == pytest.approx([weight / sum(weights) for weight in weights])
    assert found.prevalence == clinic.class_shares
    assert answer(FULL, "nevus", PROBABILITIES).shifted == {}


def test_spread_is_range_of_each_output_and_of_malignant_sum():
    contract = FULL.model_copy(update={"malignant": ("melanoma", "keratosis")})
    found = spread(contract, np.array([[0.2, 0.6, 0.2], [0.4, 0.5, 0.1]]))
    assert found.outputs == {"melanoma": (0.2, 0.4), "nevus": (0.5, 0.6), "keratosis": (0.1, 0.2)}
    assert found.malignant == pytest.approx((0.4, 0.5))


def test_alarm_is_operating_point_triage():
    assert answer(FULL, "nevus", PROBABILITIES).alarm
    assert not answer(FULL, "nevus", {**PROBABILITIES, "melanoma": 0.2}).alarm
    assert not answer(Contract(), "nevus", PROBABILITIES).alarm


def test_version_of_older_release_has_probabilities_alone(tmp_path):
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "candidate.json").write_text(json.dumps({"outputs": list(PROBABILITIES), "task": "multiclass"}))
    for contract in (Contract.of_folder(tmp_path), Contract.of_folder(tmp_path / "none")):
        found = answer(contract, "nevus", PROBABILITIES)
        assert (found.malignant, found.operating_points, found.prediction_set, found.abstained) == (None, {}, None, ())


def test_contract_reads_candidate(tmp_path):
    candidate = {**FULL.model_dump(exclude={"malignant"}), "label_set": {"name": "x", "malignant": ["melanoma"]}, "phase": "frozen"}
    (tmp_path / "candidate.json").write_text(json.dumps(candidate))
    assert Contract.of_folder(tmp_path) == FULL


def test_malignancy_of_only_malignant_outputs_is_not_told():
    assert answer(FULL.model_copy(update={"malignant": tuple(PROBABILITIES)}), "nevus", PROBABILITIES).malignant is None
