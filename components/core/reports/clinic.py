"""reports/clinic.json: the candidate's figures for use in a clinic."""

from typing import ClassVar

from pydantic import Field

from components.core.document import Document, Part
from components.core.label_set import LabelSet
from components.core.reports.evaluation import Estimate, Figures

MALIGNANT_SENSITIVITY = "share of the malignant images that are flagged"
BENIGN_SPECIFICITY = "share of the benign images that are not flagged"


class AtPrevalence(Figures):
    """Predictive values of an operating point at one prevalence. A figure is missing where it is not defined."""

    benign_flagged_per_cancer: Estimate | None = Field(default=None, description="benign images flagged for each malignant image found")
    flagged_per_1000: Estimate = Field(description="images flagged among 1,000")
    npv: Estimate | None = Field(default=None, description="negative predictive value: share of the images not flagged that are benign")
    ppv: Estimate | None = Field(default=None, description="positive predictive value: share of the flagged images that are malignant")
    prevalence: float = Field(description="share of malignant images")


class OperatingPoint(Figures):
    """A threshold on the malignant probability, chosen on validation, and what it does on test."""

    at_prevalence: dict[str, AtPrevalence] = Field(
        json_schema_extra={"key": "prevalence"}, description="by prevalence, as `evaluate.prevalences` names it; `dataset`: that of test"
    )
    false_negatives: int = Field(description="malignant test images not flagged")
    false_positives: int = Field(description="benign test images flagged")
    flagged: Estimate = Field(description="share of all test images that are flagged")
    sensitivity: Estimate = Field(description=MALIGNANT_SENSITIVITY)
    sensitivity_by_class: dict[str, Estimate] = Field(
        json_schema_extra={"key": "class"}, description="the same for each malignant class that has test images"
    )
    specificity: Estimate = Field(description=BENIGN_SPECIFICITY)
    targets: dict[str, float] | None = Field(
        default=None,
        json_schema_extra={"key": "class"},
        description="share of the class's groups to be flagged on validation; only `triage` has it",
    )
    threshold: float = Field(description="malignant probability from which an image is flagged")
    true_negatives: int = Field(description="benign test images not flagged")
    true_positives: int = Field(description="malignant test images flagged")
    validation_sensitivity: float | None = Field(default=None, description="share of the malignant groups flagged on validation")
    validation_specificity: float | None = Field(default=None, description="share of the benign groups not flagged on validation")

    @property
    def text(self) -> str:
        """What it does on test, for people."""
        return (
            f"sensitivity {self.sensitivity:.3f}, specificity {self.specificity:.3f}, {self.flagged.value:.0%} of the images flagged"
            f" (malignant probability of at least {self.threshold:.3g})"
        )


class Discrimination(Figures):
    """How well probabilities rank the test images. Where thresholds are read off test, the name says so."""

    critical_auc: Estimate | None = Field(default=None, description="area under the ROC curve of the critical class's probability")
    malignant_auc: Estimate | None = Field(default=None, description="area under the ROC curve of the malignant probability")
    malignant_partial_auc: Estimate | None = Field(
        default=None,
        description="its part above 80 % sensitivity, as ISIC 2024 defines it: 0 to 0.2, and a tenth of that for a random score",
    )
    sensitivity_at_90_specificity_on_test_itself: Estimate | None = Field(
        default=None, description="malignant sensitivity at the threshold that has 90 % specificity on test; only to compare with papers"
    )
    specificity_at_90_sensitivity_on_test_itself: Estimate | None = Field(
        default=None, description="specificity at the threshold that has 90 % malignant sensitivity on test; only to compare with papers"
    )
    specificity_at_95_sensitivity_on_test_itself: Estimate | None = Field(default=None, description="the same at 95 % sensitivity")
    top_2_accuracy: Estimate | None = Field(
        default=None, description="share of images whose class is among the two likeliest; missing with three or fewer classes"
    )
    top_3_accuracy: Estimate | None = Field(default=None, description="the same for the three likeliest")


class CalibrationBin(Part):
    """Test images of similar probability."""

    highest: float | None = Field(default=None, description="largest of their probabilities; missing in older files")
    images: int = Field(description="images of the bin")
    lowest: float | None = Field(default=None, description="smallest of their probabilities; missing in older files")
    observed: Estimate = Field(description="share of them that are positive")
    probability: float = Field(description="mean of their probabilities")


class ProbabilityCalibration(Figures):
    """Whether one probability is right on test. A figure is missing where it is not defined."""

    brier: Estimate = Field(description="Brier score: mean squared difference between probability and outcome")
    curve: list[CalibrationBin] = Field(description="bins of about equally many images, 20 or more; empty with fewer images")
    in_the_large: Estimate | None = Field(
        default=None, description="intercept with the slope held at 1; above 0, probabilities are too low on average"
    )
    intercept: Estimate | None = Field(
        default=None, description="of a logistic regression of the outcome on the logit of the probability; 0 if calibrated"
    )
    slope: Estimate | None = Field(default=None, description="of the same regression; 1 if calibrated, below 1 if too extreme")


class NetBenefitPoint(Part):
    """Net benefit per lesion of referring from one probability on."""

    model: Estimate = Field(description="of referring what reaches the threshold")
    refer_all: float = Field(description="of referring every lesion")
    refer_none: float = Field(description="of referring none: 0")
    threshold: float = Field(description="malignant probability, at this prevalence, from which lesions are referred")


class NetBenefit(Part):
    """The decision curve of the malignant probability on test."""

    points: list[NetBenefitPoint]
    prevalence: float = Field(description="`evaluate.net_benefit_prevalence`, to which the probabilities are shifted")


class Coverage(Part):
    """What happens on test if the model answers only the images with the largest probabilities."""

    abstained: dict[str, float] = Field(json_schema_extra={"key": "class"}, description="share of the class's images without an answer")
    coverage: float = Field(description="share of all images that are answered")
    error_rate: Estimate = Field(description="share of the answered images whose likeliest class is wrong")
    threshold: float = Field(description="largest probability from which an image is answered")
    triage_sensitivity_if_flagged: float | None = Field(
        default=None, description="sensitivity of `triage` if every image without an answer is flagged"
    )
    triage_sensitivity_if_missed: float | None = Field(default=None, description="the same if none of them is flagged")


class DecisionMetrics(Figures):
    """How one way of naming a class of the table measures on test."""

    accuracy: Estimate = Field(description="share of images whose class is named")
    balanced_accuracy: Estimate = Field(description="mean sensitivity over the classes")
    mean_reward: Estimate = Field(description="mean reward per image; depends on the mix of classes")
    sensitivity_by_class: dict[str, Estimate] = Field(
        json_schema_extra={"key": "class"}, description="share of the class's images that are named as it"
    )


class Rewards(Part):
    """The likeliest class beside the class with the largest expected reward."""

    argmax: DecisionMetrics
    classes: dict[str, str] = Field(json_schema_extra={"key": "class"}, description="class of the table that each output belongs to")
    expected_reward: DecisionMetrics
    table: str = Field(description="file in `utilities/`, without suffix")


class Repeatability(Figures):
    """How far answers about the same test image differ. The last two are missing if the label set does not tell malignant from benign."""

    changed_diagnosis: Estimate = Field(description="share of images of which more than one diagnosis is named")
    crosses_triage: Estimate | None = Field(default=None, description="share of images that `triage` does not flag every time or never")
    limit_of_agreement: Estimate | None = Field(
        default=None,
        description="95 % of the differences between two malignant probabilities of an image are smaller (Bland and Altman 1999)",
    )


class ViewCount(Part):
    """What averaging over a number of views gives and costs: the first figures on the fitting half of validation."""

    balanced_accuracy: float = Field(description="mean recall over the classes")
    calibration_error: float = Field(description="expected calibration error of the likeliest class")
    changed_diagnosis: float = Field(description="share of images of which more than one diagnosis is named at the eight symmetries")
    forward_passes: int = Field(description="of the network for an image")
    loss_above_eight_views: Estimate = Field(description="negative log-likelihood above that of eight views")
    negative_log_likelihood: float = Field(description="mean of the negative logarithm of the true class's probability")
    repeatability: dict[str, Repeatability] = Field(
        json_schema_extra={"key": "change"},
        description="on test: at the eight `symmetries` of the square, when moved by one pixel of the model's input (`shift_1_px`), and"
        " when compressed again as JPEG of quality 95 (`jpeg_95`)",
    )
    temperature: float = Field(description="fitted for this number of views")


class Views(Part):
    """Number of views, symmetries of the square, that probabilities are averaged over."""

    by_count: dict[str, ViewCount] = Field(json_schema_extra={"key": "count"}, description="1, 2, 4 and 8 views")
    count: int = Field(description="the candidate's number of views")

    @property
    def repeatability(self) -> dict[str, Repeatability]:
        """That of the candidate's number of views."""
        return self.by_count[str(self.count)].repeatability

    @property
    def worst_change(self) -> Repeatability:
        """That after the change that changes most diagnoses."""
        return max(self.repeatability.values(), key=lambda found: found.changed_diagnosis.value)

    @property
    def text(self) -> str:
        """The number of views, and how repeatable it is, for people."""
        counted = "1 view" if self.count == 1 else f"the mean of {self.count} views"
        changed = f"{self.worst_change.changed_diagnosis:.3f}"
        return f"probabilities from {counted} of an image; mirrored, moved by a pixel or compressed, at most {changed} change diagnosis"


class Clinic(Document):
    """Figures for a clinic, of the calibrated probabilities. Choices are made on validation; intervals resample groups of test images."""

    current_version: ClassVar[int] = 1

    calibration: dict[str, ProbabilityCalibration] = Field(
        json_schema_extra={"key": "probability"},
        description="of the `malignant` and the `critical` probability, where the label set has them",
    )
    class_shares: dict[str, float] = Field(
        json_schema_extra={"key": "class"}, description="share of the class on validation: the prevalence behind the probabilities"
    )
    coverage: list[Coverage] = Field(description="from all images to the surest 20 %; thresholds are read off test")
    discrimination: Discrimination
    groups: int = Field(description="lesion groups among the test images")
    images: int = Field(description="test images")
    label_set: LabelSet = Field(description="as in `build/label_set.json`")
    malignant_share: float | None = Field(
        default=None, description="share of malignant test images; missing if the label set does not tell malignant from benign"
    )
    net_benefit: NetBenefit | None = Field(default=None, description="missing as `malignant_share`")
    operating_points: dict[str, OperatingPoint] = Field(
        json_schema_extra={"key": "operating_point"},
        description="`triage`, `balanced` and `rule_in`; empty if the label set does not tell malignant from benign",
    )
    rewards: Rewards | None = Field(default=None, description="missing without `evaluate.utilities`, or if an output has no place in it")
    test_split_hash: str = Field(description="as in `reports/split.json`")
    views: Views | None = Field(default=None, description="missing in older files")
