import json

import pytest

from app.models import predict
from components.serving.answers import TOO_UNCERTAIN, Contract, answer

PROBABILITIES = {"melanoma": 0.30, "nevus": 0.45, "keratosis": 0.25}
FULL = Contract(
    outputs=tuple(PROBABILITIES),
    malignant=("melanoma",),
    set_thresholds=(0.2, 0.5, 0.3),
    abstention_threshold=0.4,
    operating_points={"triage": 0.25, "rule_in": 0.8},
)


def result(contract: Contract, **probabilities: float) -> predict.PredictionResult:
    return predict.PredictionResult("m", "1", {"a.jpg": answer(contract, "nevus", {**PROBABILITIES, **probabilities})}, {}, [])


def test_answer_has_malignancy_points_and_set():
    found = answer(FULL, "nevus", PROBABILITIES)
    assert found.malignant == pytest.approx(0.3)
    assert found.operating_points == {"triage": True, "rule_in": False}
    assert found.prediction_set == ("nevus", "melanoma")  # nevus is below its threshold, but likeliest
    assert found.abstained is None


def test_version_of_older_release_has_probabilities_alone(tmp_path):
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "candidate.json").write_text(json.dumps({"outputs": list(PROBABILITIES), "task": "multiclass"}))
    for contract in (Contract.of_folder(tmp_path), Contract.of_folder(tmp_path / "none")):
        found = answer(contract, "nevus", PROBABILITIES)
        assert (found.malignant, found.operating_points, found.prediction_set, found.abstained) == (None, {}, None, None)


def test_contract_reads_candidate(tmp_path):
    candidate = {**FULL.model_dump(exclude={"malignant"}), "label_set": {"name": "x", "malignant": ["melanoma"]}, "phase": "frozen"}
    (tmp_path / "candidate.json").write_text(json.dumps(candidate))
    assert Contract.of_folder(tmp_path) == FULL


def test_malignancy_of_only_malignant_outputs_is_not_told():
    assert answer(FULL.model_copy(update={"malignant": tuple(PROBABILITIES)}), "nevus", PROBABILITIES).malignant is None


def test_abstention_withholds_ranking_and_shows_alarm_first(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    uncertain = result(FULL, melanoma=0.33, nevus=0.34, keratosis=0.33)
    lines = [line for line in predict.as_table(uncertain).splitlines() if "malignant" in line or "no answer" in line]
    assert "malignant, at or above triage" in lines[0]
    assert TOO_UNCERTAIN in lines[1]
    assert "nevus" not in predict.as_table(uncertain)
    (row,) = json.loads(predict.as_json(uncertain))
    assert (row["diagnosis"], row["abstained"], row["operating_points"]["triage"]) == (None, TOO_UNCERTAIN, True)
    assert uncertain.exit_code == 3


def test_table_marks_prediction_set_and_names_likeliest_first(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    rows = predict.as_table(result(FULL)).splitlines()
    text = "\n".join(rows)
    assert (
        text.index("named: nevus") < text.index("malignant") < text.index("nevus *") < text.index("melanoma *") < text.index("keratosis ")
    )
    assert "keratosis *" not in text
    assert result(FULL).exit_code == 0


def test_unreadable_image_outranks_abstention():
    uncertain = result(FULL, nevus=0.34)
    assert predict.PredictionResult("m", "1", uncertain.answers, {"b.jpg": "not an image"}, []).exit_code == 1
