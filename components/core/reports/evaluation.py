"""reports/evaluation.json: how the candidate measures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from components.core.document import Document, Part
from components.core.former_formats import FORMER_METRIC_NAMES, OfLabelSet
from components.core.label_set import LabelSet

ACCURACY = "share of images whose class is predicted"
BALANCED_ACCURACY = "mean recall over the classes"
CALIBRATION_ERROR = "expected calibration error of the likeliest class, after temperature scaling"
MACRO_F1 = "mean F1 over the classes"
CRITICAL_SENSITIVITY = "share of the images of the critical class that are predicted as it; missing without a critical class"
PRECISION = "share of the predictions of a class that are correct"
RECALL = "share of the images of a class that are predicted as it"
F1 = "harmonic mean of precision and recall"


@dataclass(frozen=True)
class Estimate:
    """A figure with the bounds of its 95 % interval. As text: the value, then the bounds in brackets, each in the format given."""

    value: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"


class Figures(Part):
    """A part that holds figures with intervals beside other fields."""

    @property
    def figures(self) -> dict[str, Estimate]:
        """The figures that have an interval and are not missing, by name."""
        return {name: value for name, value in self if isinstance(value, Estimate)}


class TestMetrics(Figures):
    """The candidate's figures on test. The names are in alphabetical order, as in the file."""

    __test__ = False  # pytest: this is not a test
    former_names: ClassVar[Mapping[str, str]] = FORMER_METRIC_NAMES

    accuracy: Estimate = Field(description=ACCURACY)
    balanced_accuracy: Estimate = Field(description=BALANCED_ACCURACY)
    calibration_error: Estimate = Field(description=CALIBRATION_ERROR)
    calibration_error_before: Estimate = Field(description="the same before temperature scaling")
    critical_sensitivity: Estimate | None = Field(default=None, description=CRITICAL_SENSITIVITY)
    groups: int = Field(description="lesion groups among them")
    images: int = Field(description="test images")
    macro_auc: Estimate = Field(description="mean one-vs-rest area under the ROC curve")
    macro_f1: Estimate = Field(description=MACRO_F1)
    malignant_sensitivity: Estimate | None = Field(
        default=None,
        description="share of malignant images whose malignant probabilities add up to at least one half; missing if the label set does not"
        " tell malignant from benign",
    )
    malignant_specificity: Estimate | None = Field(
        default=None,
        description="share of benign images whose malignant probabilities add up to less than one half; missing as the sensitivity",
    )


class ValidationMetrics(Part):
    """The figures of one phase on the fitting half of validation, from which the phase is chosen."""

    accuracy: float = Field(description=ACCURACY)
    balanced_accuracy: float = Field(description=BALANCED_ACCURACY)
    calibration_error: float = Field(description="expected calibration error of the likeliest class, before temperature scaling")
    macro_f1: float = Field(description=MACRO_F1)


class PhaseMetrics(Part):
    """The figures of one phase on test, before calibration."""

    former_names: ClassVar[Mapping[str, str]] = FORMER_METRIC_NAMES

    accuracy: Estimate = Field(description=ACCURACY)
    balanced_accuracy: Estimate = Field(description=BALANCED_ACCURACY)
    critical_sensitivity: Estimate | None = Field(default=None, description=CRITICAL_SENSITIVITY)
    macro_f1: Estimate = Field(description=MACRO_F1)


class PhaseDifference(Part):
    """Fine-tuned less frozen on the same test images."""

    balanced_accuracy: Estimate = Field(description="paired difference between the phases, fine-tuned less frozen")


class ShiftResult(Part):
    """What a simulated shift costs on test."""

    balanced_accuracy: float = Field(description="balanced accuracy under the simulated shift")
    drop: Estimate = Field(description="paired loss against the unchanged images")


class CollectionResult(Part):
    """What it costs to leave a collection out of training, on that collection's test images."""

    images: int = Field(description="test images of the collection that were measured on")
    classes: tuple[str, ...] = Field(description="classes that the collection shares with the others' training images")
    balanced_accuracy: float = Field(description="of a linear head fitted without the collection")
    drop: Estimate = Field(description="paired loss against a head fitted with it")


class SubgroupResult(Figures):
    """The candidate's figures on a subgroup of the test images. One with too few groups has only the numbers of images and groups."""

    balanced_accuracy: Estimate | None = Field(default=None, description="mean recall over the classes that occur in the subgroup")
    calibration_error: Estimate | None = Field(default=None, description=CALIBRATION_ERROR)
    classes: int | None = Field(default=None, description="classes that occur in the subgroup")
    critical_images: int | None = Field(default=None, description="images of the critical class among them; missing without one")
    critical_sensitivity: Estimate | None = Field(default=None, description="as in `test`; missing without images of the critical class")
    groups: int = Field(description="groups of the subgroup")
    images: int = Field(description="test images of the subgroup")
    malignant_images: int | None = Field(default=None, description="malignant images among them; missing as `test.malignant_sensitivity`")
    malignant_sensitivity: Estimate | None = Field(default=None, description="as in `test`; missing without malignant images")
    malignant_specificity: Estimate | None = Field(default=None, description="as in `test`; missing without benign images")
    triage_sensitivity: Estimate | None = Field(
        default=None, description="share of malignant images flagged at `operating_points.triage` of `reports/clinic.json`"
    )
    triage_specificity: Estimate | None = Field(default=None, description="share of benign images not flagged there")


Subgroups = Annotated[
    dict[str, SubgroupResult],
    Field(json_schema_extra={"key": "subgroup"}, description="by value; the figures of a subgroup are missing if it has too few groups"),
]


class PredictionSets(Figures):
    """How often the prediction sets contain the true class on test, and how large they are."""

    benign_without_malignant: Estimate | None = Field(
        description="share of benign images whose set has no malignant class; missing as `test.malignant_sensitivity`"
    )
    coverage: Estimate = Field(description="share of images whose set contains the true class")
    coverage_by_class: dict[str, Estimate] = Field(json_schema_extra={"key": "class"}, description="the same for the images of the class")
    critical_coverage: Estimate | None = Field(description="the same for the critical class; missing without images of it")
    malignant_without_malignant: Estimate | None = Field(description="the same share of malignant images: a set that misleads")
    pooled: tuple[str, ...] = Field(description="classes with fewer than 20 calibration groups, which share one threshold")
    size: Estimate = Field(description="mean number of classes in a set")
    target: float = Field(description="`evaluate.set_coverage`")
    thresholds: dict[str, float] = Field(
        json_schema_extra={"key": "class"},
        description="smallest probability of the class in a set",
    )


class Abstention(Figures):
    """From which test images the model abstains, since its largest probability is below a threshold."""

    accuracy_abstained: Estimate | None = Field(description="accuracy on the images abstained from; missing if there are none")
    accuracy_answered: Estimate | None = Field(description="accuracy on the other images; missing if there are none")
    by_class: dict[str, int] = Field(json_schema_extra={"key": "class"}, description="images of the class that it abstains from")
    share: Estimate = Field(description="share of images that it abstains from")
    threshold: float = Field(description="the threshold, from the calibration half of validation")


class Averages(Part):
    """Averages over classes, each counted the same (macro) or by its images (weighted)."""

    f1: float = Field(description=F1)
    precision: float = Field(description=PRECISION)
    recall: float = Field(description=RECALL)


class ClassMetrics(Part):
    """The candidate's figures for one class on test."""

    f1: float = Field(description=F1)
    images: int = Field(description="test images of the class")
    precision: float = Field(description=PRECISION)
    recall: float = Field(description=RECALL)
    recall_high: float | None = Field(default=None, description="upper bound; missing without images")
    recall_low: float | None = Field(default=None, description="lower bound of the recall's 95 % interval; missing without images")
    roc_auc: float | None = Field(default=None, description="one-vs-rest area under the ROC curve; missing where undefined")
    specificity: float = Field(description="share of the images of other classes that are not predicted as it")


class Evaluation(OfLabelSet, Document):
    """How the candidate measures: on validation, on test, under simulated shifts, and on collections left out of training."""

    current_version: ClassVar[int] = 3
    former_names: ClassVar[Mapping[str, str]] = FORMER_METRIC_NAMES

    abstention: Abstention | None = Field(default=None, description="missing in older files")
    averages: dict[str, Averages] = Field(
        json_schema_extra={"key": "average"}, description="over classes that count the same (macro) or by their images (weighted)"
    )
    changed_diagnosis: Estimate | None = Field(
        default=None,
        description="share of test images of which more than one diagnosis is named, after the worst change of `views` in"
        " `reports/clinic.json`; missing in older files",
    )
    collections_left_out: dict[str, CollectionResult] | None = Field(
        default=None,
        json_schema_extra={"key": "collection"},
        description="by collection; empty if the training images have fewer than two collections; missing in older files",
    )
    critical_lift: float = Field(
        default=0.0,
        description="constant added to the logit of the critical class where a diagnosis is named, chosen on validation; no probability"
        " contains it, except in older files; missing in the oldest",
    )
    few_groups: dict[str, int] = Field(
        default_factory=dict,
        json_schema_extra={"key": "class"},
        description="test groups of the class; only classes with fewer than 10; missing in older files",
    )
    finetuned_less_frozen_on_test: PhaseDifference
    label_set: LabelSet = Field(description="as in `build/label_set.json`")
    one_view_balanced_accuracy: float | None = Field(
        default=None, description="on test from one view of each image, which shifts are compared with; missing in older files"
    )
    per_class: dict[str, ClassMetrics] = Field(json_schema_extra={"key": "class"}, description="metrics of one class on test")
    phases_on_test: dict[str, PhaseMetrics] = Field(
        json_schema_extra={"key": "phase"}, description="metrics of both phases on test, before calibration"
    )
    picked: str = Field(description="phase that became the candidate: `frozen` or `finetuned`, chosen on validation")
    prediction_sets: PredictionSets | None = Field(default=None, description="missing in older files")
    shifts: dict[str, ShiftResult] = Field(
        default_factory=dict, json_schema_extra={"key": "shift"}, description="by simulated shift; missing in older files"
    )
    subgroups: dict[str, Subgroups] = Field(
        default_factory=dict,
        json_schema_extra={"key": "dimension"},
        description="by what they are formed from (`age`, `sex`, `site`, `skin_type`, `collection`, `resolution`); without those that have"
        " fewer than two known values on test; missing in older files",
    )
    temperature: float = Field(description="divisor of the logits, fitted on validation")
    test: TestMetrics = Field(description="metrics of the candidate on test")
    test_split_hash: str = Field(description="as in `reports/split.json`")
    triage_sensitivity: Estimate | None = Field(
        default=None,
        description="share of malignant test images flagged at `operating_points.triage` of `reports/clinic.json`; missing without that"
        " point, and in older files",
    )
    validation: dict[str, ValidationMetrics] = Field(
        json_schema_extra={"key": "phase"}, description="metrics on the fitting half of validation, from which the phase is chosen"
    )
