"""Small drops in performance from champion to champion do not add up to a large one."""

import numpy as np
import pandas as pd
import pytest

from components.core.reports.registration import Rule
from components.evaluation.predictions import Predictions
from components.registry import gate, judgement
from components.registry.judgement import Rival
from tests.support.labels import CLASSES, ISIC9

LESIONS = 200
"""Lesions per class, enough that the interval of a drop of 0.02 is below 0.05."""


@pytest.fixture
def settings(settings):
    """The settings of the repository with fewer bootstrap resamples."""
    return settings.model_copy(update={"evaluate": settings.evaluate.model_copy(update={"bootstrap_resamples": 100})})


def predictions(wrong: float, classes: tuple[str, ...] = CLASSES, seed: int = 0, lesions: int = LESIONS) -> Predictions:
    """Predictions that misclassify this fraction of the lesions of these classes; the seed selects the lesions."""
    diagnoses = np.repeat(CLASSES, lesions)
    groups = [f"{name}{lesion}" for name in CLASSES for lesion in range(lesions)]
    images = pd.DataFrame({"path": groups, "pixels_sha256": groups, "diagnosis": diagnoses, "group": groups})
    truth = np.repeat(np.arange(len(CLASSES)), lesions)
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(lesions), (len(CLASSES), 1)), axis=1).ravel()
    is_wrong = (order < round(wrong * lesions)) & np.isin(diagnoses, classes)
    return Predictions(images, np.eye(len(CLASSES))[np.where(is_wrong, (truth + 1) % len(CLASSES), truth)], ISIC9)


def rules(challenger: Predictions, champion: Rival, others: list[Rival], settings) -> list[Rule]:
    comparisons = judgement.compare_with_rivals(challenger, champion, others, settings)
    return [gate._rule_against_version(comparison, settings.registration.max_drop) for comparison in comparisons]


@pytest.mark.parametrize(("classes", "metric"), [(CLASSES, "balanced_accuracy"), (("melanoma",), "critical_sensitivity")])
def test_series_of_slightly_worse_candidates_stops_at_margin(settings, classes, metric):
    all_images = np.arange(len(CLASSES) * LESIONS)
    champion = Rival("0", predictions(0.1, classes))
    best, former_champions, promoted = champion.scored.headline(metric, all_images, 15), [], []
    for number in range(1, 11):
        candidate = predictions(0.1 + 0.02 * number, classes)  # makes the errors of the previous candidate and a few more
        if gate.passed(rules(candidate, champion, former_champions, settings)):
            former_champions, champion = [*former_champions, champion], Rival(str(number), candidate)
            promoted.append(number)
        assert best - champion.scored.headline(metric, all_images, 15) < settings.registration.max_drop
    assert promoted, "a drop whose interval is below the margin is allowed"
    assert len(promoted) < 3


def test_small_test_set_does_not_pass_gate(settings):
    first, second = (predictions(0.1, seed=seed, lesions=10) for seed in (0, 1))
    refused = [rule for rule in rules(second, Rival("0", first), [], settings) if not rule.passed]
    assert refused
    assert any("too few" in rule.says for rule in refused)


def test_best_version_is_chosen_per_metric(settings):
    champion, careful, accurate = (
        Rival("1", predictions(0.2)),
        Rival("2", predictions(0.3, CLASSES[4:])),
        Rival("3", predictions(0.2, ("melanoma",))),
    )
    comparisons = judgement.compare_with_rivals(champion.scored, champion, [careful, accurate], settings)
    best = {comparison.figure: comparison.version for comparison in comparisons if comparison.best}
    assert best == {"balanced accuracy": "3", "melanoma sensitivity": "2"}


def test_champion_that_is_best_is_compared_once(settings):
    champion = Rival("1", predictions(0.1))
    comparisons = judgement.compare_with_rivals(
        predictions(0.1), champion, [Rival("2", predictions(0.2)), Rival("3", predictions(0.1))], settings
    )
    assert [(comparison.version, comparison.best) for comparison in comparisons] == [("1", False)] * 2


def test_reevaluated_champion_is_not_best_version_of_split(settings):
    champion = Rival("1", predictions(0.0), measured_again=True)
    comparisons = judgement.compare_with_rivals(predictions(0.1), champion, [Rival("2", predictions(0.2))], settings)
    assert [(item.version, item.best, item.measured_again) for item in comparisons[:2]] == [("1", False, True), ("2", True, False)]
