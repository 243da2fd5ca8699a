import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.core.errors import ParamsError
from components.core.label_set import LabelSet
from components.evaluation.clinic import operating_points
from components.evaluation.clinic.plan import read_plan, triage_targets
from components.evaluation.predictions import Predictions
from tests.support.clinic import calibrated_predictions
from tests.support.labels import BENIGN_MALIGNANT, ISIC9, RASH
from tests.support.project import ROOT

LABELS = LabelSet(name="own", outputs=("bad", "worse", "good"), malignant=("bad", "worse"), critical="worse")
SCORES = st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.8, 0.9]), st.integers(0, 4)), min_size=1, max_size=12)
SHARES = st.sampled_from([0.05, 1 / 3, 0.5, 0.9, 0.95, 1.0])


def predictions(rows: list[tuple[str, float, int]]) -> Predictions:
    """Diagnosis, malignant probability and group of each image."""
    frame = pd.DataFrame(rows, columns=["diagnosis", "score", "group"])
    score = frame["score"].to_numpy()
    return Predictions(frame.drop(columns="score"), np.column_stack([score / 2, score / 2, 1 - score]), LABELS)


@settings(deadline=None)
@given(SCORES, SHARES)
def test_highest_threshold_meets_share_and_next_higher_does_not(rows, share):
    scores, groups = (np.array(column) for column in zip(*rows, strict=True))
    threshold = operating_points.highest_threshold(scores, groups, share)
    assert operating_points.group_share(scores >= threshold, groups) >= share - 1e-9
    higher = scores[scores > threshold]
    assert not higher.size or operating_points.group_share(scores >= higher.min(), groups) < share
    assert threshold in scores


@settings(deadline=None)
@given(SCORES, SHARES)
def test_lowest_threshold_meets_share_and_next_lower_does_not(rows, share):
    scores, groups = (np.array(column) for column in zip(*rows, strict=True))
    threshold = operating_points.lowest_threshold(scores, groups, share)
    assert operating_points.group_share(scores < threshold, groups) >= share - 1e-9
    assert operating_points.group_share(scores < np.nextafter(threshold, 0), groups) < share


def test_group_of_many_images_counts_once():
    scores = np.array([0.1] * 8 + [0.9, 0.8])
    groups = np.array([0] * 8 + [1, 2])
    assert operating_points.highest_threshold(scores, groups, 2 / 3) == 0.8
    assert operating_points.group_share(scores >= 0.8, groups) == pytest.approx(2 / 3)
    assert operating_points.highest_threshold(scores, np.zeros(10), 0.2) == 0.8


def test_triage_reaches_target_of_every_class():
    rows = [("bad", score, number) for number, score in enumerate((0.9, 0.8, 0.7, 0.6))]
    rows += [("worse", score, 10 + number) for number, score in enumerate((0.9, 0.5, 0.4))]
    scored = predictions([*rows, ("good", 0.2, 20)])
    assert operating_points.triage_threshold(scored, {"bad": 0.5, "worse": 0.3}) == pytest.approx(0.8)
    assert operating_points.triage_threshold(scored, {"bad": 0.5, "worse": 0.6}) == pytest.approx(0.5)
    assert operating_points.triage_threshold(scored, {"bad": 1.0, "worse": 0.3}) == pytest.approx(0.6)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.sampled_from([1, 3]), st.sampled_from([0.5, 0.9, 1.0]))
def test_triage_is_highest_threshold_that_meets_all_targets(seed, group_size, target):
    scored = calibrated_predictions(90, seed=seed, group_size=group_size)
    scores, groups = scored.malignant_probability, scored.images["group"].to_numpy()
    threshold = operating_points.triage_threshold(scored, dict.fromkeys(ISIC9.malignant, target))
    members = [inside for name in ISIC9.malignant if (inside := scored.images["diagnosis"].to_numpy() == name).any()]

    def reached(at: float) -> float:
        return min(operating_points.group_share(scores[inside] >= at, groups[inside]) for inside in members)

    assert reached(threshold) >= target - 1e-9
    higher = scores[scores > threshold]
    assert not higher.size or reached(higher.min()) < target


def test_class_without_validation_images_sets_no_limit():
    scored = predictions([("bad", 0.8, 0), ("good", 0.2, 1)])
    assert operating_points.triage_threshold(scored, {"bad": 0.9, "worse": 1.0}) == pytest.approx(0.8)
    only_benign = predictions([("good", 0.2, 0)])
    assert set(operating_points.thresholds(only_benign, {"bad": 0.9}, 0.95)) == {"balanced", "rule_in"}
    only_malignant = predictions([("bad", 0.8, 0)])
    assert set(operating_points.thresholds(only_malignant, {"bad": 0.9}, 0.95)) == {"triage", "balanced"}


def test_equal_scores_are_all_flagged_for_triage_and_none_for_rule_in():
    scored = predictions([(name, 0.5, number) for number, name in enumerate(("bad", "worse", "good", "good"))])
    found = operating_points.thresholds(scored, {"bad": 0.5, "worse": 0.5}, 0.5)
    scores = scored.malignant_probability
    assert (scores >= found["triage"]).all()
    assert not (scores >= found["rule_in"]).any()


def test_one_group_decides_alone():
    scored = predictions([("bad", 0.8, 0), ("bad", 0.6, 0), ("good", 0.3, 0)])
    assert operating_points.triage_threshold(scored, {"bad": 0.5}) == pytest.approx(0.8)
    assert operating_points.triage_threshold(scored, {"bad": 0.9}) == pytest.approx(0.6)


def test_targets_take_default_and_name_classes_that_are_no_outputs(capsys):
    stated = {"bad": 0.95, "elsewhere": 0.8}
    assert triage_targets(LABELS, stated, 0.9) == {"bad": 0.95, "worse": 0.9}
    assert "the model has no such output: elsewhere" in capsys.readouterr().out
    assert triage_targets(RASH, stated, 0.9) == {}


def test_benign_target_is_an_error():
    with pytest.raises(ParamsError, match=r"triage_sensitivities.good: this class is not malignant in label set own"):
        triage_targets(LABELS, {"good": 0.9}, 0.9)


def test_plan_leaves_out_rewards_that_have_no_place_for_an_output(monkeypatch, settings, capsys):
    monkeypatch.chdir(ROOT)
    assert read_plan(settings, ISIC9).table.name == "barata2023"
    assert read_plan(settings, ISIC9).targets["melanoma"] == 0.95
    assert capsys.readouterr().out == ""
    plan = read_plan(settings, BENIGN_MALIGNANT)
    assert plan.table is None
    assert plan.targets == {"malignant": 0.9}
    assert "barata2023.yaml has no place for benign, malignant" in capsys.readouterr().out
