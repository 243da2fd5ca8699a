"""params.yaml as frozen pydantic models: every knob, its range, and a clear stop at the first unknown key.

Values live in params.yaml alone, so no stage's knob has a default here: DVC sees every change of a knob, and this module decides
only what is allowed. That is why no stage in dvc.yaml depends on this file.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from components.core import architectures
from components.core.errors import LesionflowError

SPLIT_RESOLUTION = 20
"""Sides are made of twentieths of the dataset, so a share of the split is a multiple of 0.05."""

SECTIONS_OF = {"frozen": ("images", "augment", "embed", "train"), "finetuned": ("images", "augment", "embed", "train", "finetune")}
"""What decides the model of each phase."""

TRAINING_PARAMS = ("augment", "embed", "train", "finetune", "backbone")
"""What a flow run may override and still promote automatically; a list of what is allowed, so that a new section is not."""

RENAMED = {"register.max_melanoma_sensitivity_loss": "register.max_loss"}


def _twentieth(share: float) -> float:
    if abs(share * SPLIT_RESOLUTION - round(share * SPLIT_RESOLUTION)) > 1e-9:
        raise ValueError(f"must be a multiple of {1 / SPLIT_RESOLUTION}")
    return share


Share = Annotated[float, Field(ge=0, le=1)]
SplitShare = Annotated[float, Field(ge=0.05, le=0.4), AfterValidator(_twentieth)]
Rate = Annotated[float, Field(gt=0, le=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
BatchSize = Annotated[int, Field(ge=1, le=4096)]
Limit = Annotated[int, Field(ge=0)] | None
Epochs = Annotated[int, Field(ge=1, le=1000)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class Backbone(_Section):
    """A convolutional base without its top. `image_size` in pixels; `weights` is "imagenet" or the path of a no-top file."""

    architecture: Literal["MobileNetV2", "EfficientNetB0", "ResNet50"]
    alpha: Annotated[float, Field(gt=0, le=2)] = 1.0
    image_size: Annotated[int, Field(ge=32, le=1024)]
    weights: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _only_mobilenet_has_a_width(self) -> "Backbone":
        if self.alpha != 1.0 and self.architecture != "MobileNetV2":
            raise ValueError(f"alpha must be 1.0 for {self.architecture}: only MobileNetV2 has a width multiplier")
        if self.weights == "imagenet" and self.alpha not in architectures.IMAGENET_WIDTHS:
            raise ValueError(f"alpha {self.alpha} has no ImageNet weights: {', '.join(map(str, architectures.IMAGENET_WIDTHS))} have")
        return self


class Rule(_Section):
    """What is done with a file that shows a fault; with more than `at_most` such files the stage fails (null: any number may).

    `fail`: the first such file fails the stage unless `at_most` allows some, which are then left out as under `quarantine`: what is
    found under `fail` is never used.
    """

    then: str
    at_most: Limit


class FileRule(Rule):
    """A fault of one file."""

    then: Literal["fail", "quarantine", "warn"]


class HardRule(Rule):
    """A fault that no later stage can live with."""

    then: Literal["fail", "quarantine"]


class CopyRule(Rule):
    """`keep one`: the first by path; `group`: all are used, on one side of the split."""

    then: Literal["fail", "quarantine", "keep one", "group", "warn"]


class SameRule(Rule):
    """Equal pixels are never used twice, so `group` and `warn` are no choice."""

    then: Literal["fail", "quarantine", "keep one"]


class NoticeRule(Rule):
    """What is said of the dataset, and changes nothing."""

    then: Literal["fail", "warn"]


class Policy(_Section):
    """A rule for every kind of finding; findings.py says what each kind is."""

    unreadable: HardRule
    unplaced: HardRule
    tiny: FileRule
    blank: FileRule
    odd_shape: FileRule
    odd_mode: FileRule
    exif_rotated: FileRule
    not_dermoscopic: FileRule
    label_conflict: HardRule
    lesion_conflict: HardRule
    exact_duplicate: SameRule
    near_duplicate: CopyRule
    across_sides: NoticeRule
    missing_licence: FileRule
    missing_file: NoticeRule
    scarce_cancer: FileRule
    scarce_class: FileRule
    stale_decision: NoticeRule


class Validate(_Section):
    """`min_side` in pixels; `max_aspect` the long side over the short; `max_one_colour` a share of an image's pixels;
    `near_duplicate_score` a correlation (duplicates.near_pairs)."""

    min_images_per_class: Annotated[int, Field(ge=1)]
    min_side: Annotated[int, Field(ge=1)]
    max_aspect: Annotated[float, Field(ge=1)]
    min_contrast: Annotated[float, Field(ge=0, le=128)]
    max_one_colour: Share
    near_duplicate_score: Annotated[float, Field(ge=0.5, le=1)]
    policy: Policy


class ImportLimits(_Section):
    """What an archive may hold; `max_ratio` is unpacked over packed bytes of one member. `inbox` is the folder that the flow
    `watch-data` imports from: relative to the project, or absolute."""

    max_files: Annotated[int, Field(ge=1)]
    max_file_mb: Annotated[int, Field(ge=1)]
    max_total_gb: Annotated[float, Field(gt=0)]
    max_ratio: Annotated[int, Field(ge=2)]
    inbox: Annotated[str, Field(min_length=1)] = "inbox"


class Split(_Section):
    test: SplitShare
    validation: SplitShare


class Images(_Section):
    """`resolution`: what the centred square of every picture is averaged down to, in pixels, before it is fitted to the backbone's
    `image_size`; auto: what nearly every training image has; null: each is as sharp as it comes."""

    resolution: Literal["auto"] | Annotated[int, Field(ge=32, le=4096)] | None


class Augment(_Section):
    """`views` of each image of the largest class. What is drawn for each view alone: rotation and shear in degrees, shift as a share
    of the side, brightness, contrast and saturation as shares of the value, all to either side of none; zoom between two factors and
    aspect up to a factor, even in their logarithm; white balance as a channel's largest logarithm of a factor. `blur`, `sharpen`,
    `jpeg` and `vignette` are the shares of views that have one."""

    views: Annotated[int, Field(ge=1, le=100)]
    max_views: Annotated[int, Field(ge=1, le=1000)]
    rotation: Annotated[float, Field(ge=0, le=180)]
    flips: bool
    shift: Annotated[float, Field(ge=0, le=0.5)]
    shear: Annotated[float, Field(ge=0, le=45)]
    zoom: tuple[Annotated[float, Field(ge=0.25, le=1)], Annotated[float, Field(ge=1, le=4)]]
    aspect: Annotated[float, Field(ge=1, le=2)]
    brightness: Annotated[float, Field(ge=0, lt=1)]
    contrast: Annotated[float, Field(ge=0, lt=1)]
    saturation: Share
    white_balance: Annotated[float, Field(ge=0, lt=1)]
    blur: Share
    sharpen: Share
    jpeg: Share
    vignette: Share

    @model_validator(mode="after")
    def _rarer_classes_get_no_fewer(self) -> "Augment":
        if self.max_views < self.views:
            raise ValueError(f"max_views ({self.max_views}) must be at least views ({self.views})")
        return self


class Embed(_Section):
    """The frozen base: `views` of each training image at most, the first ones, `batch_size` at a time."""

    views: Annotated[int, Field(ge=1, le=1000)]
    batch_size: BatchSize


class Train(_Section):
    """The head: widths of its hidden dense layers, then the optimiser's and early stopping's knobs."""

    hidden: tuple[Annotated[int, Field(ge=1, le=8192)], ...]
    dropout: Dropout
    learning_rate: Rate
    batch_size: BatchSize
    epochs: Epochs
    patience: Annotated[int, Field(ge=1)]
    class_weights: Share


class Finetune(_Section):
    """`unfreeze_from`: a layer's or block's name, a layer number, or "auto", which is the backbone's own (architectures.py); from there
    up the base is trained. `symmetries`: each epoch sees
    each view in another of the square's eight. `small_share` of the epochs, the first, train on pictures whose side is `small_side`
    of the backbone's image_size."""

    unfreeze_from: Annotated[int, Field(ge=0)] | Annotated[str, Field(min_length=1)]
    learning_rate: Rate
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    warmup_epochs: Annotated[float, Field(ge=0)]
    batch_size: BatchSize
    epochs: Epochs
    patience: Annotated[int, Field(ge=1)]
    class_weights: Share
    symmetries: bool
    small_share: Annotated[float, Field(ge=0, lt=1)]
    small_side: Annotated[float, Field(gt=0, lt=1)]

    @model_validator(mode="after")
    def _warms_up_within_its_epochs(self) -> "Finetune":
        if self.warmup_epochs > self.epochs:
            raise ValueError(f"warmup_epochs ({self.warmup_epochs:g}) must be at most epochs ({self.epochs}): the rate would never arrive")
        return self


class Evaluate(_Section):
    """`melanoma_sensitivity` is what the melanoma logit is raised to reach on validation; then resamples of the bootstrap, bins of the
    calibration error, pictures in the gallery of mistakes."""

    melanoma_sensitivity: Annotated[float, Field(ge=0, lt=1)]
    bootstrap: Annotated[int, Field(ge=100, le=100_000)]
    calibration_bins: Annotated[int, Field(ge=2, le=100)]
    gallery: Annotated[int, Field(ge=1, le=100)]


class Export(_Section):
    calibration_images: Annotated[int, Field(ge=10, le=10_000)]
    latency_runs: Annotated[int, Field(ge=5, le=10_000)]


class Register(_Section):
    """The gate: what a challenger must pass to become champion. `max_loss`: balanced accuracy, and melanoma sensitivity, that it may
    lose against the champion and the best version. A group is the test images of one lesion."""

    model: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
    promote: Literal["automatic", "manual"]
    min_balanced_accuracy: Share
    min_melanoma_sensitivity: Share
    max_loss: Share
    min_test_groups: Annotated[int, Field(ge=0)]
    min_melanoma_groups: Annotated[int, Field(ge=0)]
    max_calibration_error: Share
    max_shift_loss: Share
    max_square_crop_loss: Share
    max_collection_loss: Share
    min_export_agreement: Share


class Settings(_Section):
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    task: Literal["multiclass", "binary"]
    backbone: str
    backbones: dict[str, Backbone]
    importing: Annotated[ImportLimits, Field(alias="import")]
    validation: Annotated[Validate, Field(alias="validate")]
    split: Split
    images: Images
    augment: Augment
    embed: Embed
    train: Train
    finetune: Finetune
    evaluate: Evaluate
    export: Export
    registration: Annotated[Register, Field(alias="register")]
    overrides: tuple[str, ...]

    @model_validator(mode="after")
    def _backbone_is_described(self) -> "Settings":
        if self.backbone not in self.backbones:
            raise ValueError(f"backbone: {self.backbone!r} is not one of backbones: {', '.join(sorted(self.backbones))}")
        return self

    @model_validator(mode="after")
    def _backbone_has_the_layer_to_unfreeze_from(self) -> "Settings":
        start = architectures.unfreeze_from(self.base.architecture, self.finetune.unfreeze_from)
        try:
            architectures.layer_number(list(architectures.LAYERS[self.base.architecture]), start)
        except LesionflowError as fault:
            raise ValueError(f"{fault} (backbone {self.backbone}: {self.base.architecture}); or {architectures.AUTO!r}") from None
        return self

    @property
    def base(self) -> Backbone:
        """The backbone in use."""
        return self.backbones[self.backbone]

    @property
    def overrides_beyond_training(self) -> list[str]:
        """Overrides of this run that touch more than how a model is trained: such a run never moves champion by itself."""
        return [text for text in self.overrides if text.lstrip("+").partition("=")[0].partition(".")[0] not in TRAINING_PARAMS]

    def logged(self, phase: str) -> dict[str, Any]:
        """What MLflow shows of a phase's run: the knobs that decide it, and what every run stands on."""
        chosen = {name: getattr(self, name).model_dump() for name in SECTIONS_OF[phase]}
        if "finetune" in chosen:
            chosen["finetune"]["unfreeze_from"] = architectures.unfreeze_from(self.base.architecture, self.finetune.unfreeze_from)
        backbone = {"name": self.backbone, **self.base.model_dump()}
        return {"seed": self.seed, "task": self.task, "backbone": backbone, **chosen}
