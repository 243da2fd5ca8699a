"""build/candidate/candidate.json: what the candidate is. Served code reads the copy of it that belongs to a registered version."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from components.core.document import Document, Part
from components.core.former_formats import FORMER_METRIC_NAMES, OfLabelSet
from components.core.label_set import LabelSet


class Base(Part):
    """The convolutional base, as `backbone` in params.yaml."""

    alpha: float = Field(description="width multiplier")
    architecture: str = Field(description="MobileNetV2, EfficientNetB0 or ResNet50")
    image_size: int = Field(description="side of the input, in pixels")
    weights: str = Field(description="`imagenet`, or the path of a file")


class MeasuredPoint(Part):
    """What an operating point does on test."""

    sensitivity: float = Field(description="share of the malignant images that are flagged")
    specificity: float = Field(description="share of the benign images that are not flagged")


class Candidate(OfLabelSet, Document):
    """The candidate: the picked phase's classifier after calibration."""

    current_version: ClassVar[int] = 3
    former_names: ClassVar[Mapping[str, str]] = FORMER_METRIC_NAMES

    abstention_threshold: float = Field(
        default=0.0, description="largest probability below which the model abstains; missing in older files, which never abstain"
    )
    backbone: Base
    class_shares: dict[str, float] = Field(
        default_factory=dict, json_schema_extra={"key": "class"}, description="as in `reports/clinic.json`; missing in older files"
    )
    clinic_shares: dict[str, float] = Field(
        default_factory=dict,
        json_schema_extra={"key": "class"},
        description="share of the class in the clinic, from `serve.prevalence`; empty without it",
    )
    critical_lift: float = Field(description="as in `reports/evaluation.json`")
    decision_offsets: tuple[float, ...] = Field(
        default=(),
        description="added to the logarithms of the probabilities, by output, where a diagnosis is named; missing in older files, whose"
        " probabilities contain `critical_lift`",
    )
    image_size: int = Field(description="side of the input, in pixels")
    label_set: LabelSet = Field(description="as in `build/label_set.json`")
    measured_points: dict[str, MeasuredPoint] = Field(
        default_factory=dict, json_schema_extra={"key": "point"}, description="by operating point; missing in older files"
    )
    model_sha256: str = Field(description="sha256 of `build/candidate/model.keras`")
    operating_points: dict[str, float] = Field(
        default_factory=dict, json_schema_extra={"key": "point"}, description="malignant probability from which an image is flagged"
    )
    outputs: tuple[str, ...] = Field(description="classes, in order; a model with one output gives the probability of the second of two")
    phase: str = Field(description="phase that was picked: `frozen` or `finetuned`")
    phase_sha256: str = Field(description="sha256 of the picked phase's `model.keras`")
    resolution: int | None = Field(description="pixels of the one resolution that images are reduced to; null if they are not")
    set_thresholds: tuple[float, ...] = Field(
        default=(), description="smallest probability of each output in a prediction set; missing in older files, which have no sets"
    )
    temperature: float = Field(description="divisor of the logits, fitted on validation")
    test_split_hash: str = Field(description="as in `reports/split.json`")
    views: int = Field(
        default=1,
        description="symmetries of the square that probabilities are averaged over; 1 in older files",
    )
