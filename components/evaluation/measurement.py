"""The figures of reports/evaluation.json, from the probabilities on validation and on test."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.core import catalog
from components.core.reports.evaluation import (
    Averages,
    ClassMetrics,
    CollectionResult,
    Estimate,
    Evaluation,
    PhaseDifference,
    PhaseMetrics,
    Subgroups,
    TestMetrics,
    ValidationMetrics,
)
from components.evaluation import bootstrap, metrics, prediction_sets, robustness
from components.evaluation.prediction_sets import Certainty
from components.evaluation.predictions import HEADLINE_METRICS, Indices, Predictions, defined, paired_difference
from components.runtime.params import Settings


@dataclass(frozen=True)
class Selection:
    """The phase picked on the fitting half of validation.

    Attributes:
        phase: the phase.
        validation: the scores of every phase on the fitting half, uncalibrated.
        logits: float (n, logits) of the picked phase on the fitting half.
        calibration: the scores of the picked phase on the calibration half, uncalibrated.
        calibration_logits: its logits there.
    """

    phase: str
    validation: dict[str, Predictions]
    logits: NDArray[np.float32]
    calibration: Predictions
    calibration_logits: NDArray[np.float32]


@dataclass(frozen=True)
class Calibration:
    """What is fitted on validation.

    Attributes:
        critical_lift: added to the logit of the critical class where a diagnosis is named; no probability contains it.
        temperature: divisor of the logits.
        certainty: thresholds of prediction sets and abstention, from the calibration half.
    """

    critical_lift: float
    temperature: float
    certainty: Certainty


@dataclass(frozen=True)
class TestScores:
    """Probabilities on test: of every phase uncalibrated, of the candidate before and after temperature scaling, and under shifts."""

    phases: dict[str, Predictions]
    before: Predictions
    after: Predictions
    shifted: dict[str, Predictions]


@dataclass(frozen=True)
class Breakdown:
    """Figures on parts of the test images: collections left out of training, and subgroups by what they are formed from."""

    collections_left_out: dict[str, CollectionResult]
    subgroups: dict[str, Subgroups]


def measure(selection: Selection, fitted: Calibration, test: TestScores, parts: Breakdown, settings: Settings) -> Evaluation:
    """The figures of the report, with their bootstrap intervals over groups."""
    after, bins = test.after, settings.evaluate.calibration_bins
    samples = bootstrap.cluster_bootstrap_indices(after.images["group"].to_numpy(), settings.evaluate.bootstrap_resamples, settings.seed)
    gain = paired_difference(test.phases["finetuned"], test.phases["frozen"], "balanced_accuracy", samples, bins)
    averages = metrics.macro_averages(after.truth, after.predicted)
    per_class = metrics.per_class(after.truth, after.predicted, after.probabilities, after.labels.outputs)
    phase_figures = defined(PhaseMetrics.model_fields, after.labels)
    return Evaluation(
        picked=selection.phase,
        label_set=after.labels,
        temperature=fitted.temperature,
        critical_lift=fitted.critical_lift,
        test_split_hash=catalog.split_hash(after.images),
        validation={name: validation_metrics(scored, bins) for name, scored in selection.validation.items()},
        test=metrics_on_test(test, samples, bins),
        phases_on_test={name: PhaseMetrics(**scored.estimates(phase_figures, samples, bins)) for name, scored in test.phases.items()},
        finetuned_less_frozen_on_test=PhaseDifference(balanced_accuracy=gain),
        prediction_sets=prediction_sets.measure_sets(after, fitted.certainty, samples),
        abstention=prediction_sets.measure_abstention(after, fitted.certainty, samples),
        shifts=robustness.shift_drops(after, test.shifted, samples, bins),
        collections_left_out=parts.collections_left_out,
        subgroups=parts.subgroups,
        averages={name: Averages(**figures) for name, figures in averages.items()},
        per_class=with_intervals(per_class, after.recalls(samples)),
        few_groups=after.few_groups(),
    )


def validation_metrics(scored: Predictions, bins: int) -> ValidationMetrics:
    """The figures that the choice of a phase rests on."""
    everything = np.arange(len(scored.images))
    return ValidationMetrics(**{name: scored.headline(name, everything, bins) for name in ValidationMetrics.model_fields})


def metrics_on_test(test: TestScores, samples: list[Indices], bins: int) -> TestMetrics:
    """The candidate's headline figures."""
    before = test.before.estimates(("calibration_error",), samples, bins)
    return TestMetrics(
        images=len(test.after.images),
        groups=int(test.after.images["group"].nunique()),
        calibration_error_before=before["calibration_error"],
        **test.after.estimates(defined(HEADLINE_METRICS, test.after.labels), samples, bins),
    )


def with_intervals(per_class: dict[str, dict[str, float]], recalls: dict[str, Estimate]) -> dict[str, ClassMetrics]:
    """The figures of each class, its recall with the bounds of its interval; a class without images has none."""
    bounds = {name: {"recall_low": found.low, "recall_high": found.high} for name, found in recalls.items()}
    return {name: ClassMetrics.model_validate({**row, **bounds.get(name, {})}) for name, row in per_class.items()}
