"""build/candidate/candidate.json: what the candidate is. Served code reads the copy of it that belongs to a registered version."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from components.core.reports.document import Document, Part
from components.core.reports.evaluation import FORMER_NAMES


class Base(Part):
    """The convolutional base, as `backbone` in params.yaml."""

    alpha: float = Field(description="width multiplier")
    architecture: str = Field(description="MobileNetV2, EfficientNetB0 or ResNet50")
    image_size: int = Field(description="side of the input, in pixels")
    weights: str = Field(description="`imagenet`, or the path of a file")


class Candidate(Document):
    """The candidate: the picked phase's classifier after calibration."""

    current_version: ClassVar[int] = 2
    former_names: ClassVar[Mapping[str, str]] = FORMER_NAMES

    backbone: Base
    critical_lift: float = Field(description="as in `reports/evaluation.json`")
    image_size: int = Field(description="side of the input, in pixels")
    model_sha256: str = Field(description="sha256 of `build/candidate/model.keras`")
    outputs: tuple[str, ...] = Field(description="labels, in order; a binary model has one output, the probability of the second")
    phase: str = Field(description="phase that was picked: `frozen` or `finetuned`")
    phase_sha256: str = Field(description="sha256 of the picked phase's `model.keras`")
    resolution: int | None = Field(description="pixels of the one resolution that images are reduced to; null if they are not")
    task: str = Field(description="`multiclass` or `binary`")
    temperature: float = Field(description="divisor of the logits, fitted on validation")
    test_split_hash: str = Field(description="as in `reports/split.json`")
