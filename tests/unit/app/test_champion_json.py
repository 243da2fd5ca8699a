"""The JSON that `champion show` and `champion verify` print and that flows read."""

import json

import numpy as np
import pytest

from app.models.champion import as_json
from components.core.reports.champion import MetricPair, Overview, Verification
from components.core.reports.evaluation import Estimate
from components.core.reports.registration import Promotion, Rule
from tests.support import documents

PROMOTION = Promotion("m", None, "1", "moved outside the gate", "", "passed", "2026-01-01T00:00:00+00:00", "me", "0")


def test_overview_json_round_trip():
    champion = documents.version_overview(
        data_md5="abc.dir", rules=[Rule("accuracy", True, "so")], figures={"accuracy": Estimate(0.9, 0.8, 1.0)}
    )
    overview = Overview(model="m", champion=champion, challenger=None, noticed=PROMOTION)
    text = as_json(overview)
    assert Overview.model_validate(json.loads(text)) == overview
    assert list(json.loads(text)) == ["model", "champion", "challenger", "noticed"]
    assert list(json.loads(text)["champion"]) == [
        *("version", "run_id", "phase", "label_set", "data_md5", "test_split_hash", "git_commit", "gate", "judged_at", "judged_against"),
        *("rules", "figures", "champion_since", "champion_by"),
    ]
    assert json.loads(text)["champion"]["figures"] == {"accuracy": {"value": 0.9, "low": 0.8, "high": 1.0}}
    assert json.loads(text)["champion"]["rules"] == [{"name": "accuracy", "passed": True, "says": "so"}]
    assert json.loads(text)["noticed"]["after"] == "1"


def test_verification_json_round_trip():
    report = documents.verification(figures={"accuracy": MetricPair(recorded=0.9, now=np.float64(0.8))}, moved=["accuracy"])
    text = as_json(report)
    assert Verification.model_validate(json.loads(text)) == report
    assert list(json.loads(text)) == [
        *(
            "critical_class",
            "figures",
            "moved",
            "unsupported",
            "changed_diagnoses",
            "largest_change",
            "model",
            "version",
            "data_md5",
            "images",
        ),
    ]
    assert json.loads(text)["figures"] == {"accuracy": {"recorded": 0.9, "now": 0.8}}


def test_history_json_is_list_of_promotions():
    assert [entry["who"] for entry in json.loads(as_json([PROMOTION, PROMOTION]))] == ["me", "me"]


def test_as_json_rejects_nan():
    with pytest.raises(ValueError, match="not JSON compliant"):
        as_json(documents.verification(largest_change=float("nan")))
