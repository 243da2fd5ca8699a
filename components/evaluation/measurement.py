"""The figures of reports/evaluation.json, from the probabilities on validation and on test."""

from dataclasses import dataclass

import numpy as np

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
from components.evaluation.view_counts import Logits, ViewFit
from components.runtime.params import Settings


@dataclass(frozen=True)
class Selection:
    """The phase picked on the fitting half of validation.

    Attributes:
        phase: the phase.
        validation: the scores of every phase on the fitting half, uncalibrated.
        logits: of the picked phase on the fitting half, at every view.
        calibration: the scores of the picked phase on the calibration half, uncalibrated.
        calibration_logits: its logits there, at every view.
    """

    phase: str
    validation: dict[str, Predictions]
    logits: Logits
    calibration: Predictions
    calibration_logits: Logits


@dataclass(frozen=True)
class Calibration:
    """What is fitted on validation.

    Attributes:
        fits: what is fitted for each number of views, on the fitting half.
        count: the number of views that was chosen.
        certainty: thresholds of prediction sets and abstention, from the calibration half.
    """

    fits: dict[int, ViewFit]
    count: int
    certainty: Certainty

    @property
    def chosen(self) -> ViewFit:
        """The fit of the chosen number of views."""
        return self.fits[self.count]


@dataclass(frozen=True)
class TestScores:
    """Probabilities on test.

    Attributes:
        phases: of every phase, uncalibrated, from one view.
        before, after: of the candidate, before and after temperature scaling.
        one_view: as `after`, from one view alone, to which shifts are compared.
        shifted: of the candidate under shifts, from one view.
    """

    phases: dict[str, Predictions]
    before: Predictions
    after: Predictions
    one_view: Predictions
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
        temperature=fitted.chosen.temperature,
        critical_lift=fitted.chosen.critical_lift,
        test_split_hash=catalog.split_hash(after.images),
        validation={name: validation_metrics(scored, bins) for name, scored in selection.validation.items()},
        test=metrics_on_test(test, samples, bins),
        phases_on_test={name: PhaseMetrics(**scored.estimates(phase_figures, samples, bins)) for name, scored in test.phases.items()},
        finetuned_less_frozen_on_test=PhaseDifference(balanced_accuracy=gain),
        prediction_sets=prediction_sets.measure_sets(after, fitted.certainty, samples),
        abstention=prediction_sets.measure_abstention(after, fitted.certainty, samples),
        one_view_balanced_accuracy=metrics.balanced_accuracy(test.one_view.truth, test.one_view.predicted),
        shifts=robustness.shift_drops(test.one_view, test.shifted, samples, bins),
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
