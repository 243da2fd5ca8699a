"""What the last run of the pipeline came to, for a person."""

from collections.abc import Mapping

from components.core.label_set import LabelSet
from components.core.paths import CLINIC, EVALUATION, REGISTRATION
from components.core.reports.clinic import Clinic
from components.core.reports.evaluation import CollectionResult, Evaluation, ShiftResult
from components.core.reports.registration import Registration
from components.evaluation.predictions import FEW_GROUPS
from components.evaluation.shifts import worst_shift
from components.evaluation.subgroups import dimensions_left_out, worst_subgroup

FURTHER = (
    ("make report", "gate, figures and plots on one page"),
    ("make ui", "runs, models and versions in MLflow, on http://127.0.0.1:5000"),
    ("xdg-open reports/validation/index.html", "Data Docs: what validation found"),
    ("dvc plots show --open", "curves, confusion matrix, calibration, mistakes"),
)


def summary_lines() -> list[str]:
    """The test figures, the version and its place, and three commands to look further."""
    evaluation, registration = Evaluation.read(EVALUATION), Registration.read(REGISTRATION)
    test = evaluation.test
    place = "champion" if registration.champion == registration.version else "challenger"
    failed = [rule for rule in registration.gate if not rule.passed]
    gate = "passed" if registration.gate_passed else "not passed: " + "; ".join(f"{rule.name}, {rule.says}" for rule in failed)
    return [
        "",
        f"Test figures of the {evaluation.picked} model on {test.images} images of {test.groups} groups, with 95 % intervals:",
        *(
            f"  {evaluation.label_set.metric_label(name):<26} {row.value:.3f}  [{row.low:.3f}, {row.high:.3f}]"
            for name, row in test.figures.items()
        ),
        *_not_told(evaluation.label_set),
        *_clinic(),
        *_few(evaluation.few_groups),
        *_certainty(evaluation),
        *_shifts(evaluation.shifts),
        *_left_out(evaluation.collections_left_out or {}),
        *_subgroups(evaluation),
        "",
        f"Registered as {registration.model} version {registration.version}: {place}. Gate {gate}.",
        *([f"Warning: {registration.warning}."] if registration.warning else []),
        *([] if place == "champion" else [f"Champion: {registration.champion or 'none yet'}."]),
        "",
        "Look further:",
        *(f"  {command:<40} {what}" for command, what in FURTHER),
    ]


def _not_told(labels: LabelSet) -> list[str]:
    """What a label set does not tell, and the figures that are missing for it."""
    malignancy = [] if labels.separates_malignant else ["malignant classes, so there is no sensitivity and specificity for malignant"]
    critical = [] if labels.critical else ["a critical class, so no class's sensitivity is guarded"]
    return [f"Label set {labels.name} does not have {missing}." for missing in (*malignancy, *critical)]


def _clinic() -> list[str]:
    """The operating point for triage, its sensitivity for each malignant class, and how repeatable answers are."""
    if not CLINIC.exists():
        return ["Not measured at operating points: `dvc repro` does."]
    clinic = Clinic.read(CLINIC)
    point = clinic.operating_points.get("triage")
    repeatable = [f"{clinic.views.text.capitalize()}."] if clinic.views else []
    if point is None:
        return repeatable
    by_class = ", ".join(f"{name.replace('_', ' ')} {row.value:.3f}" for name, row in point.sensitivity_by_class.items())
    return [f"Triage: {point.text}.", f"  of each class found: {by_class}", *repeatable]


def _few(groups: dict[str, int]) -> list[str]:
    if not groups:
        return []
    listed = ", ".join(f"{name.replace('_', ' ')} ({count})" for name, count in groups.items())
    return [f"Balanced accuracy is uncertain: it counts classes with fewer than {FEW_GROUPS} test groups as much as others: {listed}."]


def _certainty(evaluation: Evaluation) -> list[str]:
    """What the prediction sets contain, and what abstaining changes."""
    sets, abstention = evaluation.prediction_sets, evaluation.abstention
    if sets is None or abstention is None:
        return ["Neither prediction sets nor abstention were measured: `dvc repro` does."]
    answered, abstained = abstention.accuracy_answered, abstention.accuracy_abstained
    accuracy = f": accuracy {abstained:.3f} there and {answered:.3f} on the others" if answered and abstained else ""
    return [
        f"Prediction sets contain the true class for {sets.coverage:.3f} of the images ({sets.target} intended),"
        f" with {sets.size.value:.1f} classes on average.",
        f"It abstains from {abstention.share:.3f} of the images{accuracy}.",
    ]


def _shifts(costs: Mapping[str, ShiftResult]) -> list[str]:
    if not costs:
        return ["Not measured under shifts: `dvc repro` does."]
    name = worst_shift(costs)
    row = costs[name]
    return [
        f"Worst of {len(costs)} shifts: {name.replace('_', ' ')}, balanced accuracy {row.balanced_accuracy:.3f}, a loss of {row.drop:.3f}."
    ]


def _left_out(costs: Mapping[str, CollectionResult]) -> list[str]:
    return [
        f"A linear head that never saw {name} loses {row.drop:.3f} there, on {row.images} images of {len(row.classes)} classes."
        for name, row in costs.items()
    ]


def _subgroups(evaluation: Evaluation) -> list[str]:
    """The worst subgroup, and what no subgroups could be formed from."""
    if "subgroups" not in evaluation.model_fields_set:
        return ["Not measured on subgroups: `dvc repro` does."]
    worst, missing = worst_subgroup(evaluation.subgroups), dimensions_left_out(evaluation.subgroups)
    none = ["No subgroup has enough test groups for figures."] if evaluation.subgroups else []
    named = [f"Worst subgroup: {worst.name}, balanced accuracy {worst.balanced_accuracy:.3f}."] if worst else none
    unknown = f"No subgroups by {', '.join(missing)}: the test images have fewer than two known values."
    return [*named, *([unknown] if missing else [])]
