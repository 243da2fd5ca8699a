from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.core import decision
from components.evaluation import bootstrap, prediction_sets
from components.evaluation.halves import fitting_half
from components.evaluation.predictions import Predictions
from tests.support.labels import CLASSES, ISIC9, RASH


def predictions(images: int, seed: int, labels=ISIC9, per_group: int = 1) -> Predictions:
    """Images whose true class is drawn from their probabilities, so that these are calibrated."""
    random = np.random.default_rng(seed)
    classes = len(labels.outputs)
    probabilities = random.dirichlet(np.full(classes, 0.4), images)
    truth = [random.choice(classes, p=row) for row in probabilities]
    frame = pd.DataFrame({"diagnosis": np.array(labels.outputs)[truth], "group": np.arange(images) // per_group})
    return Predictions(frame.assign(path=frame.index.astype(str), pixels_sha256=frame.index.astype(str)), probabilities, labels)


def test_stated_coverage_is_reached_on_new_images_by_class():
    certainty = prediction_sets.calibrate(predictions(4000, 0), 0.9, 0.1)
    new = predictions(20_000, 1)
    inside = decision.prediction_sets(new.probabilities, certainty.thresholds)
    covered = inside[np.arange(len(inside)), new.truth]
    assert certainty.pooled == ()
    for number in range(9):
        assert covered[new.truth == number].mean() == pytest.approx(0.9, abs=0.04)
    assert decision.too_uncertain(new.probabilities, certainty.abstention).mean() == pytest.approx(0.1, abs=0.02)


def test_classes_with_few_groups_share_a_threshold():
    scored = predictions(300, 0)
    few = replace(scored, images=scored.images.assign(diagnosis=["melanoma"] * 250 + ["nevus"] * 19 + ["dermatofibroma"] * 31))
    certainty = prediction_sets.calibrate(few, 0.9, 0.1)
    assert set(certainty.pooled) == set(CLASSES) - {"melanoma", "dermatofibroma"}
    assert len({certainty.thresholds[CLASSES.index(name)] for name in certainty.pooled}) == 1
    assert prediction_sets.smallest_probability(np.array([0.9] * 8), 0.9) == 0.0  # too few images promise nothing: every set has the class


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0.5, 0.99))
def test_smallest_probability_covers_calibration_images(of_truth, coverage):
    threshold = prediction_sets.smallest_probability(np.array(of_truth), coverage)
    assert (np.array(of_truth) >= threshold).mean() >= coverage - 1e-9


@settings(deadline=None)
@given(st.integers(1, 80), st.floats(0, 0.99), st.integers(0, 100))
def test_at_most_the_stated_share_is_abstained_from(images, share, seed):
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(3), images)
    threshold = prediction_sets.abstention_threshold(probabilities, share)
    assert decision.too_uncertain(probabilities, threshold).mean() <= share + 1e-9


def test_sets_always_have_the_likeliest_output():
    inside = decision.prediction_sets(np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3]]), (0.9, 0.9, 0.25))
    assert inside.tolist() == [[True, False, False], [False, True, True]]


def test_measured_on_test():
    scored, certainty = predictions(600, 2, per_group=2), prediction_sets.calibrate(predictions(2000, 0), 0.9, 0.1)
    samples = bootstrap.cluster_bootstrap_indices(scored.images["group"].to_numpy(), 100, 0)
    sets, abstention = (
        measure(scored, certainty, samples) for measure in (prediction_sets.measure_sets, prediction_sets.measure_abstention)
    )
    assert sets.coverage.low <= 0.9 <= sets.coverage.high
    assert 1 <= sets.size.value <= 9
    assert sets.malignant_without_malignant.value < sets.benign_without_malignant.value
    assert list(sets.thresholds) == list(CLASSES)
    assert abstention.accuracy_answered.value > abstention.accuracy_abstained.value
    assert sum(abstention.by_class.values()) == round(abstention.share.value * 600)


def test_nothing_about_malignancy_without_malignant_classes():
    scored, certainty = predictions(100, 2, RASH), prediction_sets.calibrate(predictions(200, 0, RASH), 0.9, 0.0)
    samples = bootstrap.cluster_bootstrap_indices(scored.images["group"].to_numpy(), 100, 0)
    sets = prediction_sets.measure_sets(scored, certainty, samples)
    assert (sets.critical_coverage, sets.malignant_without_malignant, sets.benign_without_malignant) == (None, None, None)
    assert prediction_sets.measure_abstention(scored, certainty, samples).share.value == 0


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["a", "b", "c"])), min_size=2, max_size=80), st.integers(0, 9))
def test_halves_divide_no_group_and_each_has_classes_with_two_groups(rows, seed):
    images = pd.DataFrame(rows, columns=["group", "diagnosis"])
    images["diagnosis"] = images.groupby("group")["diagnosis"].transform("first")
    fitting = fitting_half(images, seed)
    assert images.assign(fitting=fitting).groupby("group")["fitting"].nunique().max() == 1
    for _, members in images.assign(fitting=fitting).groupby("diagnosis"):
        if members["group"].nunique() > 1:
            assert members["fitting"].nunique() == 2
    shuffled = images.sample(frac=1, random_state=seed)
    assert (fitting_half(shuffled, seed) == fitting[shuffled.index]).all()
