"""What averaging over 1, 2, 4 or 8 views gives and costs: the part `views` of reports/clinic.json."""

import numpy as np

from components.core.reports.clinic import Repeatability, ViewCount, Views
from components.evaluation import calibration, repeatability, view_counts
from components.evaluation.bootstrap import Resampling
from components.evaluation.clinic.operating_points import triage_threshold
from components.evaluation.clinic.plan import Plan
from components.evaluation.measurement import Calibration
from components.evaluation.predictions import Predictions
from components.evaluation.repeatability import Looks
from components.evaluation.view_counts import Logits, ViewFit


def measure_views(fitted: Calibration, on_validation: Logits, looks: Looks, test: Predictions, plan: Plan) -> Views:
    """Measure every number of views.

    Args:
        fitted: what was fitted for each.
        on_validation: logits of the fitting half at every view.
        looks: those of test.
        test: the test images.
        plan: targets of triage, and settings of bootstrap and calibration error.
    """
    resampling = Resampling.of_groups(test.images["group"].to_numpy(), plan.resamples, plan.seed)
    most = fitted.fits[view_counts.MOST_VIEWS]
    rows = {}
    for count, fit in fitted.fits.items():
        everything = np.arange(len(fit.scored.images))
        rows[str(count)] = ViewCount(
            balanced_accuracy=fit.scored.headline("balanced_accuracy", everything, plan.bins),
            calibration_error=fit.scored.headline("calibration_error", everything, plan.bins),
            changed_diagnosis=repeatability.changed_share(fit, on_validation),
            forward_passes=count,
            loss_above_eight_views=view_counts.loss_above_most_views(fit, most, plan.resamples, plan.seed),
            negative_log_likelihood=calibration.negative_log_likelihood(fit.scored.truth, fit.scored.probabilities),
            repeatability=_on_test(fit, looks, plan, resampling),
            temperature=fit.temperature,
        )
    return Views(by_count=rows, count=fitted.count)


def _on_test(fit: ViewFit, looks: Looks, plan: Plan, resampling: Resampling) -> dict[str, Repeatability]:
    labels = fit.scored.labels
    triage = triage_threshold(fit.scored, plan.targets) if labels.separates_malignant else None
    plain = fit.probabilities(looks.plain)
    answers = {repeatability.SYMMETRIES: repeatability.symmetric_answers(fit, looks.plain)}
    answers |= {name: np.stack([plain, fit.probabilities(logits)]) for name, logits in looks.changed.items()}
    return {name: repeatability.measure_repeatability(found, fit, triage, resampling) for name, found in answers.items()}
