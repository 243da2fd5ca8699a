"""Small losses from one champion to the next do not add up to a large one."""

import numpy as np
import pandas as pd
import pytest

from components.core.classes import CLASSES
from components.core.reports.registration import Rule
from components.evaluation.predictions import Predictions
from components.registry import gate, judgement
from components.registry.judgement import Rival

LESIONS = 200
"""Of each class; so many that a loss of 0.02 is surely below 0.05."""


@pytest.fixture
def settings(settings):
    """The repository's settings with a bootstrap that takes less time."""
    return settings.model_copy(update={"evaluate": settings.evaluate.model_copy(update={"bootstrap_resamples": 100})})


def scored(wrong: float, classes: tuple[str, ...] = CLASSES, seed: int = 0, lesions: int = LESIONS) -> Predictions:
    """Predictions that miss this share of the lesions of these classes, never the same lesions with another seed."""
    diagnoses = np.repeat(CLASSES, lesions)
    groups = [f"{name}{at}" for name in CLASSES for at in range(lesions)]
    images = pd.DataFrame({"path": groups, "pixels_sha256": groups, "diagnosis": diagnoses, "group": groups})
    truth = np.repeat(np.arange(len(CLASSES)), lesions)
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(lesions), (len(CLASSES), 1)), axis=1).ravel()
    missed = (order < round(wrong * lesions)) & np.isin(diagnoses, classes)
    return Predictions(images, np.eye(len(CLASSES))[np.where(missed, (truth + 1) % len(CLASSES), truth)], "multiclass")


def rules(challenger: Predictions, champion: Rival, others: list[Rival], settings) -> list[Rule]:
    compared = judgement.compare_with_rivals(challenger, champion, others, settings)
    return [gate._rule_against_version(comparison, settings.registration.max_drop) for comparison in compared]


@pytest.mark.parametrize(("classes", "figure"), [(CLASSES, "balanced_accuracy"), (("melanoma",), "critical_sensitivity")])
def test_of_ten_candidates_each_a_little_worse_none_passes_once_the_sum_reaches_the_margin(settings, classes, figure):
    everything = np.arange(len(CLASSES) * LESIONS)
    reigning = Rival("0", scored(0.1, classes))
    best, before, promoted = reigning.scored.headline(figure, everything, 15), [], []
    for number in range(1, 11):
        candidate = scored(0.1 + 0.02 * number, classes)  # it misses what the one before misses, and a little more
        if gate.passed(rules(candidate, reigning, before, settings)):
            before, reigning = [*before, reigning], Rival(str(number), candidate)
            promoted.append(number)
        assert best - reigning.scored.headline(figure, everything, 15) < settings.registration.max_drop
    assert promoted, "a loss surely below the margin is allowed"
    assert len(promoted) < 3


def test_a_test_set_too_small_to_rule_a_loss_out_does_not_make_promotion_easier(settings):
    first, second = (scored(0.1, seed=seed, lesions=10) for seed in (0, 1))
    refused = [rule for rule in rules(second, Rival("0", first), [], settings) if not rule.passed]
    assert refused
    assert any("too few" in rule.says for rule in refused)


def test_each_figure_has_its_own_best_version(settings):
    champion, careful, accurate = Rival("1", scored(0.2)), Rival("2", scored(0.3, CLASSES[4:])), Rival("3", scored(0.2, ("melanoma",)))
    compared = judgement.compare_with_rivals(champion.scored, champion, [careful, accurate], settings)
    best = {comparison.figure: comparison.version for comparison in compared if comparison.best}
    assert best == {"balanced_accuracy": "3", "critical_sensitivity": "2"}


def test_a_champion_that_is_the_best_is_compared_with_once(settings):
    champion = Rival("1", scored(0.1))
    compared = judgement.compare_with_rivals(scored(0.1), champion, [Rival("2", scored(0.2)), Rival("3", scored(0.1))], settings)
    assert [(comparison.version, comparison.best) for comparison in compared] == [("1", False)] * 2


def test_a_champion_measured_again_is_not_the_best_version_of_this_split(settings):
    champion = Rival("1", scored(0.0), measured_again=True)
    compared = judgement.compare_with_rivals(scored(0.1), champion, [Rival("2", scored(0.2))], settings)
    assert [(item.version, item.best, item.measured_again) for item in compared[:2]] == [("1", False, True), ("2", True, False)]
