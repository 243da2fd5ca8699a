"""The section `validate` of params.yaml: measures of images, and the policy for each kind of finding."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Limit = Annotated[int, Field(ge=0)] | None


class Section(BaseModel):
    """A section of params.yaml. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class Rule(Section):
    """Action for files with a finding. The stage fails if more than `max_files` files have the finding; null means no limit.

    With `fail`, the first such file fails the stage unless `max_files` allows some; these are then excluded as with `quarantine`. Files
    with a finding under `fail` are never used.
    """

    action: str
    max_files: Limit


class FileRule(Rule):
    """Policy for a problem of one file."""

    action: Literal["fail", "quarantine", "warn"]


class HardRule(Rule):
    """Policy for a problem that no later stage can handle."""

    action: Literal["fail", "quarantine"]


class CopyRule(Rule):
    """Policy for near-duplicates. `keep one`: only the first by path is used; `group`: all are used, in the same split."""

    action: Literal["fail", "quarantine", "keep one", "group", "warn"]


class SameRule(Rule):
    """Policy for exact duplicates. Equal pixels are never used twice, so `group` and `warn` are not available."""

    action: Literal["fail", "quarantine", "keep one"]


class NoticeRule(Rule):
    """Policy for a finding that is reported but excludes no file."""

    action: Literal["fail", "warn"]


class Policy(Section):
    """One policy per kind of finding; findings.py describes the kinds."""

    unreadable: HardRule
    unknown_class: HardRule
    not_in_label_set: HardRule
    too_small: FileRule
    low_information: FileRule
    odd_aspect_ratio: FileRule
    not_rgb: FileRule
    exif_rotated: FileRule
    not_dermoscopic: FileRule
    label_conflict: HardRule
    lesion_conflict: HardRule
    lesion_of_several_patients: NoticeRule
    exact_duplicate: SameRule
    near_duplicate: CopyRule
    train_test_leak: NoticeRule
    missing_license: FileRule
    missing_file: NoticeRule
    small_malignant_class: FileRule
    small_benign_class: FileRule
    stale_decision: NoticeRule


class Validate(Section):
    """`min_side`: pixels; `max_aspect`: long side divided by short side; `max_dominant_color_fraction`: share of an image's pixels;
    `near_duplicate_score`: correlation (near_duplicates.find_near_pairs)."""

    min_images_per_class: Annotated[int, Field(ge=1)]
    min_side: Annotated[int, Field(ge=1)]
    max_aspect: Annotated[float, Field(ge=1)]
    min_contrast: Annotated[float, Field(ge=0, le=128)]
    max_dominant_color_fraction: Share
    near_duplicate_score: Annotated[float, Field(ge=0.5, le=1)]
    policy: Policy
