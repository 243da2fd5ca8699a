"""The figures of reports/clinic.json, from the calibrated probabilities on validation and on test."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.core import catalog, decision
from components.core.reports.clinic import (
    AtPrevalence,
    CalibrationBin,
    Clinic,
    Coverage,
    Discrimination,
    NetBenefit,
    NetBenefitPoint,
    OperatingPoint,
    ProbabilityCalibration,
)
from components.core.reports.evaluation import Estimate
from components.evaluation import metrics
from components.evaluation.bootstrap import Resampling, clip_estimate, percentile_interval
from components.evaluation.clinic import abstention, discrimination, net_benefit, operating_points, prevalence, probability_calibration
from components.evaluation.clinic.decisions import measure_rewards
from components.evaluation.clinic.operating_points import TRIAGE
from components.evaluation.clinic.plan import DATASET, Plan
from components.evaluation.predictions import Indices, Predictions

Bools = NDArray[np.bool_]
Rate = Callable[[float, float, float], float]
PREDICTIVE_VALUES: dict[str, tuple[Rate, float]] = {
    "benign_flagged_per_cancer": (prevalence.benign_flagged_per_cancer, float("inf")),
    "flagged_per_1000": (prevalence.flagged_per_1000, 1000.0),
    "npv": (prevalence.negative_predictive_value, 1.0),
    "ppv": (prevalence.positive_predictive_value, 1.0),
}
"""Each figure as a function of sensitivity, specificity and prevalence, and its largest value. All begin at 0."""
ON_TEST_ITSELF = ("specificity_at_90_sensitivity", "specificity_at_95_sensitivity", "sensitivity_at_90_specificity")
TOP = (2, 3)
"""Numbers of likeliest classes among which the true one is looked for."""


@dataclass(frozen=True)
class Sample:
    """Calibrated predictions on validation and on test, and the bootstrap samples of test."""

    validation: Predictions
    test: Predictions
    resampling: Resampling

    @cached_property
    def positive(self) -> dict[str, Bools]:
        """The test images that are positive for each probability, by its name; without those that the label set does not tell."""
        labels = self.test.labels
        malignant = {"malignant": self.test.malignant} if labels.separates_malignant else {}
        return {**malignant, **({"critical": self.test.critical} if labels.critical else {})}

    @cached_property
    def scores(self) -> dict[str, metrics.Floats]:
        """The probabilities on test, by name."""
        labels = self.test.labels
        critical = {"critical": self.test.probabilities[:, labels.outputs.index(labels.critical)]} if labels.critical else {}
        return {"malignant": self.test.malignant_probability, **critical}

    def recall(self, at: Indices, called: Bools) -> tuple[float, float]:
        """Sensitivity and specificity for malignant on some test images; nan where there are none."""
        malignant, flagged = self.test.malignant[at], called[at]
        return metrics.sensitivity(malignant, flagged), metrics.specificity(malignant, flagged)


def measure(validation: Predictions, test: Predictions, plan: Plan) -> Clinic:
    """The figures of the report, with their bootstrap intervals over groups."""
    resampling = Resampling.of_groups(test.images["group"].to_numpy(), plan.resamples, plan.seed)
    sample = Sample(validation, test, resampling)
    both = test.malignant.any() and not test.malignant.all()
    points = measure_points(sample, plan) if test.labels.separates_malignant and both else {}
    shares = prevalence.class_shares(validation.truth, len(test.labels.outputs)).tolist()
    fields: dict[str, Any] = {}
    if test.labels.separates_malignant:
        fields["malignant_share"] = float(test.malignant.mean())
    if points and validation.malignant.any() and not validation.malignant.all():
        fields["net_benefit"] = measure_net_benefit(sample, plan.net_benefit_prevalence)
    if plan.table is not None and (found := measure_rewards(test, plan.table, resampling)):
        fields["rewards"] = found
    return Clinic(
        calibration={name: measure_calibration(sample, name) for name in sample.positive},
        class_shares=dict(zip(test.labels.outputs, shares, strict=True)),
        coverage=measure_coverage(sample, points[TRIAGE].threshold if TRIAGE in points else None),
        discrimination=measure_discrimination(sample),
        groups=len(np.unique(resampling.groups)),
        images=len(test.images),
        label_set=test.labels,
        operating_points=points,
        test_split_hash=catalog.split_hash(test.images),
        **fields,
    )


def measure_points(sample: Sample, plan: Plan) -> dict[str, OperatingPoint]:
    """Every operating point that validation gives, measured on test, which has malignant and benign images."""
    chosen = operating_points.thresholds(sample.validation, plan.targets, plan.rule_in_specificity)
    return {name: measure_point(sample, name, threshold, plan) for name, threshold in chosen.items()}


def measure_point(sample: Sample, name: str, threshold: float, plan: Plan) -> OperatingPoint:
    """One operating point on test."""
    test, malignant = sample.test, sample.test.malignant
    flagged = sample.scores["malignant"] >= threshold
    estimates = {
        "sensitivity": sample.resampling.share(malignant, flagged),
        "specificity": sample.resampling.share(~malignant, ~flagged),
        "flagged": sample.resampling.share(np.ones_like(flagged), flagged),
    }
    members = {output: test.images["diagnosis"].to_numpy(dtype=str) == output for output in test.labels.malignant}
    by_class = {output: sample.resampling.share(inside, flagged) for output, inside in members.items() if inside.any()}
    values = {**estimates, **_reached_on_validation(sample.validation, threshold)}
    return OperatingPoint.model_validate(
        {
            **values,
            **({"targets": plan.targets} if name == TRIAGE else {}),
            "at_prevalence": measure_prevalences(sample, flagged, estimates, plan),
            "threshold": threshold,
            "sensitivity_by_class": by_class,
            "true_positives": int((malignant & flagged).sum()),
            "false_negatives": int((malignant & ~flagged).sum()),
            "true_negatives": int((~malignant & ~flagged).sum()),
            "false_positives": int((~malignant & flagged).sum()),
        }
    )


def _reached_on_validation(validation: Predictions, threshold: float) -> dict[str, float]:
    flagged, groups = validation.malignant_probability >= threshold, validation.images["group"].to_numpy()
    parts = {"sensitivity": (validation.malignant, flagged), "specificity": (~validation.malignant, ~flagged)}
    return {
        f"validation_{name}": operating_points.group_share(right[counted], groups[counted])
        for name, (counted, right) in parts.items()
        if counted.any()
    }


def measure_prevalences(sample: Sample, flagged: Bools, rates: dict[str, Estimate], plan: Plan) -> dict[str, AtPrevalence]:
    """Predictive values at each prevalence of the plan, from sensitivity and specificity on test and on its bootstrap samples."""
    sampled = [sample.recall(at, flagged) for at in sample.resampling.samples]
    sensitivity, specificity = rates["sensitivity"], rates["specificity"]
    found = {}
    for stated in plan.prevalences:
        share = float(sample.test.malignant.mean()) if stated == DATASET else float(stated)
        figures = {
            name: _at_prevalence(function, (sensitivity, specificity), sampled, share) for name, (function, _) in PREDICTIVE_VALUES.items()
        }
        clipped = {name: clip_estimate(row, high=PREDICTIVE_VALUES[name][1]) for name, row in figures.items() if row is not None}
        found[str(stated)] = AtPrevalence(prevalence=share, **clipped)
    return found


def _at_prevalence(function: Rate, rates: tuple[Estimate, Estimate], sampled: list[tuple[float, float]], share: float) -> Estimate | None:
    """A figure with its bootstrap interval, which is never narrower than what one rate at a bound of its own interval gives; None if the
    figure is not defined. The figures rise or fall with each rate."""
    sensitivity, specificity = rates
    value = function(sensitivity.value, specificity.value, share)
    values = np.array([function(*row, share) for row in sampled])
    if not np.isfinite(value) or not np.isfinite(values).any():
        return None
    resampled = percentile_interval(value, values.tolist())
    ends = [function(bound, specificity.value, share) for bound in (sensitivity.low, sensitivity.high)]
    ends += [function(sensitivity.value, bound, share) for bound in (specificity.low, specificity.high)]
    ends = [end for end in ends if np.isfinite(end)]
    return Estimate(value, min(resampled.low, value, *ends), max(resampled.high, value, *ends))


def measure_discrimination(sample: Sample) -> Discrimination:
    """Areas under ROC curves, rates at thresholds read off test, and whether the class is among the likeliest."""
    found = {key: row for name in sample.positive for key, row in _ranking(sample, name).items()}
    if len(sample.test.labels.outputs) > max(TOP):
        everything = np.ones(len(sample.test.images), dtype=bool)
        for count in TOP:
            right = discrimination.among_likeliest(sample.test.truth, sample.test.probabilities, count)
            found[f"top_{count}_accuracy"] = sample.resampling.share(everything, right)
    return Discrimination(**found)


def _ranking(sample: Sample, name: str) -> dict[str, Estimate]:
    """The figures of one probability as a ranking; of the critical one, only the area under the curve."""
    positive, scores = sample.positive[name], sample.scores[name]
    figures = sample.resampling.estimates(lambda at: discrimination.ranking(positive[at], scores[at]))
    found = {f"{name}_auc": clip_estimate(figures["auc"])} if "auc" in figures else {}
    if name == "malignant" and figures:
        found["malignant_partial_auc"] = clip_estimate(figures["partial_auc"], high=1 - discrimination.MIN_SENSITIVITY)
        found |= {f"{rate}_on_test_itself": clip_estimate(figures[rate]) for rate in ON_TEST_ITSELF}
    return found


def measure_calibration(sample: Sample, name: str) -> ProbabilityCalibration:
    """Calibration of the `malignant` or the `critical` probability."""
    positive, scores = sample.positive[name], sample.scores[name]
    figures = sample.resampling.estimates(lambda at: probability_calibration.calibration_figures(positive[at], scores[at]))
    curve = []
    for members in probability_calibration.equal_count_bins(scores):
        observed, inside = sample.resampling.share(np.isin(np.arange(len(scores)), members), positive), scores[members]
        lowest, mean, highest = float(inside.min()), float(inside.mean()), float(inside.max())
        curve.append(CalibrationBin(images=len(members), lowest=lowest, highest=highest, observed=observed, probability=mean))
    return ProbabilityCalibration(curve=curve, **{**figures, "brier": clip_estimate(figures["brier"])})


def measure_net_benefit(sample: Sample, share: float) -> NetBenefit:
    """Decision curve at a prevalence, of the malignant probability shifted from validation's prevalence to it."""
    test, thresholds = sample.test, np.array(net_benefit.THRESHOLDS)
    ratios = prevalence.prevalence_ratios(test.labels, float(sample.validation.malignant.mean()), share)
    shifted = decision.prior_shifted(test.probabilities, ratios)[:, test.labels.positions(test.labels.malignant)].sum(axis=1)

    def model(at: Indices) -> dict[str, float]:
        values = net_benefit.model_net_benefit(test.malignant[at], shifted[at], share, thresholds)
        return dict(zip(map(str, thresholds), values.tolist(), strict=True))

    everyone = net_benefit.refer_all(share, thresholds).tolist()
    rows = zip(thresholds.tolist(), sample.resampling.estimates(model).values(), everyone, strict=True)
    points = [NetBenefitPoint(threshold=at, model=row, refer_all=value, refer_none=0.0) for at, row, value in rows]
    return NetBenefit(points=points, prevalence=share)


def measure_coverage(sample: Sample, triage: float | None) -> list[Coverage]:
    """Errors and abstentions at each share of answered images; `triage`: threshold of that operating point, if there is one."""
    test, confidence = sample.test, sample.test.probabilities.max(axis=1)
    right = test.probabilities.argmax(axis=1) == test.truth
    found = []
    for threshold in abstention.coverage_thresholds(confidence):
        answered = confidence >= threshold
        error_rate = sample.resampling.share(answered, ~right)
        members = {name: test.truth == number for number, name in enumerate(test.labels.outputs)}
        abstained = {name: float((~answered[inside]).mean()) for name, inside in members.items() if inside.any()}
        fields = {} if triage is None else _triage_beside_abstention(sample, answered, triage)
        found.append(Coverage(abstained=abstained, coverage=float(answered.mean()), error_rate=error_rate, threshold=threshold, **fields))
    return found


def _triage_beside_abstention(sample: Sample, answered: Bools, threshold: float) -> dict[str, float]:
    flagged, malignant = sample.scores["malignant"] >= threshold, sample.test.malignant
    return {
        "triage_sensitivity_if_flagged": metrics.sensitivity(malignant, flagged | ~answered),
        "triage_sensitivity_if_missed": metrics.sensitivity(malignant, flagged & answered),
    }
