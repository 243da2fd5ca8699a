"""A challenger is compared with the champion only on test images that neither has seen."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as search
from hypothesis import strategies as st

from components.core.reports.registration import Rule
from components.evaluation.predictions import Predictions
from components.registry import comparability, evidence, judgement, reevaluation, version_tags
from components.registry.judgement import Rival
from components.registry.promotion import ChampionState
from tests.support import documents
from tests.support.labels import CLASSES, ISIC9, RASH

LESIONS = 12
"""Lesions per class, each with two images."""


def perfect(labels=ISIC9, lesions: int = LESIONS) -> Predictions:
    rows = [
        (f"{name} {lesion} {image}", name, f"{name} {lesion}") for name in labels.outputs for lesion in range(lesions) for image in "ab"
    ]
    images = pd.DataFrame(rows, columns=["pixels_sha256", "diagnosis", "group"]).assign(path=lambda frame: frame["pixels_sha256"])
    return Predictions(images, np.eye(len(labels.outputs))[labels.encode(images["diagnosis"])] * 0.91 + 0.01, labels)


def champion_split(challenger: Predictions, seen_lesions: range, side: str = "train") -> pd.DataFrame:
    """A split that has the first image of these lesions of each class on this side, and of the others on test."""
    images = challenger.images[challenger.images["pixels_sha256"].str.endswith("a")]
    seen = images["group"].str.rpartition(" ")[2].astype(int).isin(seen_lesions)
    return images.assign(side=np.where(seen, side, "test"))[evidence.SPLIT_COLUMNS]


def thresholds(settings, **values):
    return settings.registration.model_copy(update=values)


def unseen(settings, seen: int, **values) -> comparability.ComparisonSet:
    challenger = perfect()
    return comparability.unseen_images(challenger, "1", champion_split(challenger, range(seen)), thresholds(settings, **values))


@pytest.mark.parametrize(("side", "groups"), [("train", 10), ("validation", 10), ("test", 12)])
def test_group_of_which_the_champion_saw_one_image_is_left_out_as_a_whole(side, groups):
    images = perfect().images
    kept = images.iloc[comparability.unseen_positions(images, champion_split(perfect(), range(2), side))]
    assert kept["group"].nunique() == groups * len(CLASSES)
    assert (kept.groupby("group").size() == 2).all()


@search(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["train", "validation", "test", "absent"])), max_size=40))
def test_no_image_of_a_comparison_shares_a_group_with_an_image_that_was_seen(rows):
    images = pd.DataFrame({"pixels_sha256": [f"image {n}" for n in range(len(rows))], "group": [group for group, _ in rows]})
    sides = pd.Series([side for _, side in rows], dtype=object)
    split = images.assign(side=sides)[sides != "absent"]
    seen_groups = {group for group, side in rows if side in ("train", "validation")}
    kept = images.iloc[comparability.unseen_positions(images, split)]
    assert list(kept.index) == [n for n, (group, _) in enumerate(rows) if group not in seen_groups]


def test_enough_unseen_groups_pass_and_are_counted(settings):
    chosen = unseen(settings, 2)
    says = "90 of 108 test groups were seen by neither model, at least 50 required; 10 of 12 melanoma test groups, at least 10 required"
    assert chosen.rule == Rule("comparable with the champion", True, says)
    assert chosen.metrics == ("balanced_accuracy", "critical_sensitivity")
    assert len(chosen.challenger.images) == 180


def test_few_unseen_groups_leave_the_decision_to_a_person(settings):
    chosen = unseen(settings, 7)
    assert (chosen.rule.passed, chosen.metrics) == (False, ())
    assert chosen.rule.says.startswith("not comparable: 45 of 108 test groups were seen by neither model, at least 50 required")
    assert "version 1 was trained, stopped or calibrated on the others" in chosen.rule.says
    assert chosen.rule.says.endswith("a person decides: `lesionflow champion promote VERSION --override REASON`")


def test_few_unseen_groups_of_the_critical_class_leave_out_its_sensitivity_alone(settings):
    chosen = unseen(settings, 3)
    assert (chosen.rule.passed, chosen.metrics) == (False, ("balanced_accuracy",))
    assert chosen.rule.says.startswith("melanoma sensitivity is not comparable: 81 of 108 test groups")
    assert "9 of 12 melanoma test groups, at least 10 required" in chosen.rule.says


def test_critical_class_without_unseen_image_is_not_compared_even_without_a_minimum(settings):
    challenger = perfect()
    split = challenger.images.assign(side=np.where(challenger.critical, "train", "test"))
    chosen = comparability.unseen_images(challenger, "1", split, thresholds(settings, min_critical_groups=0))
    assert chosen.metrics == ("balanced_accuracy",)
    assert "0 of 12 melanoma test groups, at least 1 required; none of melanoma;" in chosen.rule.says


def test_label_set_without_critical_class_is_compared_by_groups_alone(settings):
    challenger = perfect(RASH, 30)
    chosen = comparability.unseen_images(challenger, "1", champion_split(challenger, range(5)), settings.registration)
    assert chosen.metrics == ("balanced_accuracy",)
    assert chosen.rule.says == "100 of 120 test groups were seen by neither model, at least 50 required"


def test_figures_of_the_comparison_are_those_on_its_images(settings):
    challenger = perfect()
    wrong_where_seen = Predictions(challenger.images, challenger.probabilities.copy(), ISIC9)
    seen = challenger.images["group"].str.endswith(" 0").to_numpy()
    wrong_where_seen.probabilities[seen] = np.roll(challenger.probabilities[seen], 1, axis=1)
    chosen = comparability.unseen_images(challenger, "1", champion_split(challenger, range(1)), settings.registration)
    champion = Rival("1", chosen.challenger, measured_again=True)
    comparisons = judgement.compare_with_rivals(wrong_where_seen, champion, [], settings)
    assert [(row.figure, row.difference.value) for row in comparisons] == [("balanced accuracy", 0.0), ("melanoma sensitivity", 0.0)]


def judge(settings, monkeypatch, recorded: evidence.Evidence | None, of_champion: str) -> tuple[list[Rule], list[pd.DataFrame]]:
    """The rules about a challenger with test split `new`, and the tables of images that the champion was measured on."""
    challenger, measured = perfect(), []

    def load_evidence(*_):
        if recorded is None:
            raise evidence.EvidenceLost("it was overwritten")
        return recorded

    def reevaluate(_, images, labels, data_md5):
        measured.append(images)
        assert (labels, data_md5) == (ISIC9, "md5")
        return judgement.align_predictions(challenger, Predictions(images, np.zeros(0), ISIC9))

    monkeypatch.setattr(evidence, "load_evidence", load_evidence)
    monkeypatch.setattr(reevaluation, "reevaluate", reevaluate)
    monkeypatch.setattr(judgement, "rivals", lambda *_: [])
    champion = SimpleNamespace(version=1, tags=version_tags.label_set_tags(ISIC9) | {"test_split_hash": of_champion})
    state = ChampionState("model", None, champion, None)
    rules = judgement.judge_version(None, evidence_on("new", challenger, None), "2", state, settings)
    return [rule for rule in rules if "champion" in rule.name], measured


def evidence_on(test_split: str, scored: Predictions, split: pd.DataFrame | None) -> evidence.Evidence:
    return evidence.Evidence(documents.evaluation(), documents.export_report(), scored, test_split, "md5", 15, True, split)


KEPT = ["balanced accuracy kept against the champion", "melanoma sensitivity kept against the champion"]


def test_champion_of_another_split_is_measured_on_unseen_images_alone(settings, monkeypatch):
    split = champion_split(perfect(), range(2))
    rules, [images] = judge(settings, monkeypatch, evidence_on("old", perfect(), split), "old")
    assert [rule.name for rule in rules] == ["same classes as the champion", comparability.RULE, *KEPT]
    assert all(rule.passed for rule in rules)
    assert "measured again on these images" in rules[-1].says
    assert len(images) == 180
    assert not images["pixels_sha256"].isin(split.loc[split["side"] != "test", "pixels_sha256"]).any()


def test_champion_with_few_unseen_images_is_not_measured(settings, monkeypatch):
    rules, measured = judge(settings, monkeypatch, evidence_on("old", perfect(), champion_split(perfect(), range(7))), "old")
    assert [(rule.name, rule.passed) for rule in rules] == [("same classes as the champion", True), (comparability.RULE, False)]
    assert measured == []


def test_sensitivity_of_few_unseen_melanomas_is_not_compared(settings, monkeypatch):
    rules, measured = judge(settings, monkeypatch, evidence_on("old", perfect(), champion_split(perfect(), range(3))), "old")
    assert [(rule.name, rule.passed) for rule in rules[1:]] == [(comparability.RULE, False), (KEPT[0], True)]
    assert len(measured) == 1


@pytest.mark.parametrize("recorded", [None, evidence_on("old", perfect(), None)], ids=["lost", "of an older release"])
def test_champion_of_another_split_without_recorded_split_is_not_comparable(settings, monkeypatch, recorded):
    rules, measured = judge(settings, monkeypatch, recorded, "old")
    assert [(rule.name, rule.passed) for rule in rules[1:]] == [(comparability.RULE, False)]
    assert "no evidence tells which images it was trained on" in rules[1].says
    assert "a person decides" in rules[1].says
    assert measured == []


@pytest.mark.parametrize("split", [None, champion_split(perfect(), range(12))], ids=["not recorded", "other training images"])
def test_champion_of_the_same_test_split_is_compared_on_all_recorded_predictions(settings, monkeypatch, split):
    rules, measured = judge(settings, monkeypatch, evidence_on("new", perfect(), split), "new")
    assert rules[1] == Rule(comparability.RULE, True, "all 108 test groups, since version 1 has the same test split")
    assert [rule.name for rule in rules[2:]] == KEPT
    assert measured == []


def test_champion_of_the_same_test_split_with_lost_evidence_is_measured_on_all_images(settings, monkeypatch):
    rules, measured = judge(settings, monkeypatch, None, "new")
    assert [(rule.name, rule.passed) for rule in rules[1:]] == [(name, True) for name in (comparability.RULE, *KEPT)]
    assert [len(images) for images in measured] == [216]
