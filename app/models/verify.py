"""A version evaluated again on the test images it was evaluated on, to see whether it still measures what was recorded."""

import numpy as np

from app.models.champion import REGISTRY_ERROR, existing_version, load_champion_state
from components.core.errors import LesionflowError
from components.core.label_set import metric_label
from components.core.reports.champion import Changes, MetricPair, Verification
from components.core.reports.evaluation import TestMetrics
from components.evaluation.predictions import HEADLINE_METRICS, Predictions
from components.registry import evidence, promotion, reevaluation, versions
from components.tracking import store

TOLERANCE = 0.005
"""Between a figure recorded and the same figure now.

Another machine's float arithmetic moves a probability by about 1e-6, and with it the ROC area and the calibration error by as
little; the other figures are counts of images and do not move at all, unless two classes were tied. One diagnosis that really
changed moves the accuracy of fewer than 200 test images by more than this, and a missed image of the critical class the sensitivity of
fewer than 200 such images. Fewer changes in larger test sets are distinguished by `changed_diagnoses`.
"""


def verify_version(requested_version: str = versions.CHAMPION) -> Verification:
    """Evaluate a version again, with the bins that it was evaluated with.

    Args:
        requested_version: a version number or an alias.

    Raises:
        LesionflowError: the version does not exist, its evidence is gone or was changed, or data/ does not hold its test images.
    """
    client, state = load_champion_state()
    if requested_version == versions.CHAMPION and state.champion is None:
        raise LesionflowError(f"{state.model} has no champion: `lesionflow champion promote VERSION` makes one")
    with store.mlflow_errors(REGISTRY_ERROR):
        version = existing_version(client, state.model, requested_version)
        recorded = evidence.load_evidence(client, version, promotion.evidence_of(state.entries, str(version.version)))
    now = reevaluation.reevaluate(version, recorded.scored.images, recorded.scored.labels, recorded.data_md5)
    changes = compare_metrics(recorded.evaluation.test, recorded.scored, now, recorded.bins)
    return Verification(
        **dict(changes), model=state.model, version=str(version.version), data_md5=recorded.data_md5, images=len(now.images)
    )


def compare_metrics(test: TestMetrics, recorded: Predictions, now: Predictions, bins: int) -> Changes:
    """What moved, between the recorded figures, the recorded probabilities, and the probabilities now.

    Args:
        test: the recorded test figures.
        recorded: the recorded probabilities.
        now: the probabilities of the same images now.
        bins: of the calibration error.
    """
    everything = np.arange(len(now.images))
    names = [name for name in HEADLINE_METRICS if name in test.figures]
    figures = {name: MetricPair(recorded=test.figures[name].value, now=now.headline(name, everything, bins)) for name in names}
    recomputed = {name: recorded.headline(name, everything, bins) for name in names}
    unsupported = [name for name, figure in figures.items() if not _within_tolerance(figure.recorded, recomputed[name])]
    if len(recorded.images) != test.images:
        unsupported.append("images")
    return Changes(
        critical_class=recorded.labels.critical,
        figures=figures,
        moved=[name for name, figure in figures.items() if not _within_tolerance(figure.recorded, figure.now)],
        unsupported=unsupported,
        changed_diagnoses=int((recorded.predicted != now.predicted).sum()),
        largest_change=float(np.abs(recorded.probabilities - now.probabilities).max()),
    )


def _within_tolerance(first: float, second: float) -> bool:
    return abs(first - second) <= TOLERANCE  # nan is never close: a figure that cannot be had is a fault


def is_reproduced(report: Verification) -> bool:
    """Whether the version still measures what was recorded."""
    return not report.moved and not report.unsupported


def lines(report: Verification) -> list[str]:
    """The report for a person."""
    rows = [
        f"  {metric_label(name, report.critical_class):<24} {row.recorded:.4f} recorded, {row.now:.4f} now ({row.now - row.recorded:+.4f})"
        f"{'  MOVED' if name in report.moved else ''}"
        for name, row in report.figures.items()
    ]
    unsupported = [
        f"the recorded predictions do not give the recorded {metric_label(name, report.critical_class)}" for name in report.unsupported
    ]
    return [
        f"{report.model} version {report.version} on its {report.images} test images (dataset md5 {report.data_md5})",
        *rows,
        f"changed diagnoses: {report.changed_diagnoses}; largest change of a probability: {report.largest_change:.1e}",
        *unsupported,
        "it measures what was recorded" if is_reproduced(report) else f"it does NOT measure what was recorded, within {TOLERANCE}",
    ]
