"""reports/metrics.json: the few figures by which `dvc metrics` and `dvc exp show` compare runs. Its intervals are in evaluation.json."""

from pydantic import Field

from components.core.document import JsonFile
from components.core.reports.clinic import Clinic
from components.core.reports.evaluation import Evaluation


class Headline(JsonFile):
    """Headline figures of a candidate; those that its label set does not define are missing. Choose by the first."""

    validation_balanced_accuracy: float = Field(description="of the picked phase, on the fitting half of validation")
    accuracy: float = Field(description="on test, as all that follow")
    balanced_accuracy: float = Field(description="mean recall over the classes")
    macro_f1: float = Field(description="mean F1 over the classes")
    critical_sensitivity: float | None = Field(
        default=None, description="share of the images of the critical class that are predicted as it"
    )
    calibration_error: float = Field(description="expected calibration error of the likeliest class")
    triage_sensitivity: float | None = Field(default=None, description="share of malignant images at or above the operating point `triage`")
    triage_specificity: float | None = Field(default=None, description="share of benign images below it")
    set_coverage: float | None = Field(default=None, description="share of images whose class is in their prediction set")
    abstained: float | None = Field(default=None, description="share of images from which the model abstains")
    changed_diagnosis: float | None = Field(default=None, description="share of images that a turn, a pixel or a compression renames")
    worst_shift_drop: float = Field(description="balanced accuracy lost under the worst shift")


def headline(evaluation: Evaluation, clinic: Clinic) -> Headline:
    """The headline figures of an evaluation."""
    test, triage = evaluation.test, clinic.operating_points.get("triage")
    estimates = {
        "accuracy": test.accuracy,
        "balanced_accuracy": test.balanced_accuracy,
        "macro_f1": test.macro_f1,
        "critical_sensitivity": test.critical_sensitivity,
        "calibration_error": test.calibration_error,
        "triage_sensitivity": triage.sensitivity if triage else None,
        "triage_specificity": triage.specificity if triage else None,
        "set_coverage": evaluation.prediction_sets.coverage if evaluation.prediction_sets else None,
        "abstained": evaluation.abstention.share if evaluation.abstention else None,
        "changed_diagnosis": evaluation.changed_diagnosis,
    }
    return Headline(
        validation_balanced_accuracy=evaluation.validation[evaluation.picked].balanced_accuracy,
        worst_shift_drop=max(shift.drop.value for shift in evaluation.shifts.values()),
        **{name: estimate.value for name, estimate in estimates.items() if estimate is not None},
    )
