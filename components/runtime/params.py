"""params.yaml as frozen pydantic models: every parameter, its type and range; unknown keys are errors.

Values are only in params.yaml, and no parameter of a stage has a default here, so DVC sees every change of a value. This module only
validates. That is why no stage in dvc.yaml depends on this file.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from components.core import architectures
from components.core.errors import LesionflowError
from components.runtime.tuning_params import CrossValidation, Tuning, require_valid_spaces, with_values
from components.runtime.validation_params import Section, Share, Validate

SPLIT_RESOLUTION = 20
"""The dataset is split into twentieths, so the shares of the splits are multiples of 0.05."""

SECTIONS_OF = {"frozen": ("images", "augment", "embed", "train"), "finetuned": ("images", "augment", "embed", "train", "finetune")}
"""Sections that determine the model of each phase."""

TRAINING_PARAMS = ("augment", "embed", "train", "finetune", "backbone")
"""Sections that a flow run may override and still promote automatically; new sections are excluded unless they are added here."""


def _twentieth(share: float) -> float:
    if abs(share * SPLIT_RESOLUTION - round(share * SPLIT_RESOLUTION)) > 1e-9:
        raise ValueError(f"must be a multiple of {1 / SPLIT_RESOLUTION}")
    return share


SplitShare = Annotated[float, Field(ge=0.05, le=0.4), AfterValidator(_twentieth)]
Rate = Annotated[float, Field(gt=0, le=1)]
Prevalence = Annotated[float, Field(gt=0, lt=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
BatchSize = Annotated[int, Field(ge=1, le=4096)]
Epochs = Annotated[int, Field(ge=1, le=1000)]


class Backbone(Section):
    """A convolutional base without its top. `image_size` in pixels; `weights` is "imagenet" or the path of a file without top."""

    architecture: Literal["MobileNetV2", "EfficientNetB0", "ResNet50"]
    alpha: Annotated[float, Field(gt=0, le=2)] = 1.0
    image_size: Annotated[int, Field(ge=32, le=1024)]
    weights: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _only_mobilenet_has_a_width(self) -> "Backbone":
        if self.alpha != 1.0 and self.architecture != "MobileNetV2":
            raise ValueError(f"alpha must be 1.0 for {self.architecture}: only MobileNetV2 has a width multiplier")
        if self.weights == "imagenet" and self.alpha not in architectures.IMAGENET_WIDTHS:
            raise ValueError(
                f"ImageNet weights exist only for alpha {', '.join(map(str, architectures.IMAGENET_WIDTHS))}, not for {self.alpha}"
            )
        return self


class ImportLimits(Section):
    """Limits of an imported archive; `max_ratio`: unpacked divided by packed bytes of one member. `inbox`: folder that the flow
    `watch-data` imports from, relative to the project or absolute."""

    max_files: Annotated[int, Field(ge=1)]
    max_file_mb: Annotated[int, Field(ge=1)]
    max_total_gb: Annotated[float, Field(gt=0)]
    max_ratio: Annotated[int, Field(ge=2)]
    inbox: Annotated[str, Field(min_length=1)] = "inbox"


class Split(Section):
    """`redeal`: split all images again, instead of only those that splits/assignments.csv does not name."""

    test: SplitShare
    validation: SplitShare
    redeal: bool


class Images(Section):
    """`resolution`: pixels to which the center square of every image is downsampled before it is resized to the backbone's
    `image_size`. auto: a resolution that nearly every training image has; null: no downsampling."""

    resolution: Literal["auto"] | Annotated[int, Field(ge=32, le=4096)] | None


class Augment(Section):
    """`views_per_image`: views per image of the largest class. Ranges of the values drawn for each view, symmetric around no change:
    rotation and shear in degrees, shift as a fraction of the size, brightness, contrast and saturation as fractions of the value.
    `zoom` (two factors) and `max_aspect_stretch` (a factor) are log-uniform; `white_balance` is the largest log factor of a channel."""

    views_per_image: Annotated[int, Field(ge=1, le=100)]
    max_views_per_image: Annotated[int, Field(ge=1, le=1000)]
    rotation: Annotated[float, Field(ge=0, le=180)]
    flips: bool
    shift: Annotated[float, Field(ge=0, le=0.5)]
    shear: Annotated[float, Field(ge=0, le=45)]
    zoom: tuple[Annotated[float, Field(ge=0.25, le=1)], Annotated[float, Field(ge=1, le=4)]]
    max_aspect_stretch: Annotated[float, Field(ge=1, le=2)]
    brightness: Annotated[float, Field(ge=0, lt=1)]
    contrast: Annotated[float, Field(ge=0, lt=1)]
    saturation: Share
    white_balance: Annotated[float, Field(ge=0, lt=1)]
    blur_probability: Share
    sharpen_probability: Share
    jpeg_probability: Share
    vignette_probability: Share

    @model_validator(mode="after")
    def _rarer_classes_get_no_fewer(self) -> "Augment":
        if self.max_views_per_image < self.views_per_image:
            raise ValueError(f"max_views_per_image ({self.max_views_per_image}) must be at least views_per_image ({self.views_per_image})")
        return self


class Embed(Section):
    """The frozen base embeds at most `max_views_per_image` views of each training image, the first ones, in batches of `batch_size`."""

    max_views_per_image: Annotated[int, Field(ge=1, le=1000)]
    batch_size: BatchSize


class Train(Section):
    """The head: widths of its hidden dense layers, then parameters of the optimizer and of early stopping."""

    hidden_units: tuple[Annotated[int, Field(ge=1, le=8192)], ...]
    dropout: Dropout
    learning_rate: Rate
    batch_size: BatchSize
    epochs: Epochs
    patience: Annotated[int, Field(ge=1)]
    class_weight_power: Share


class Finetune(Section):
    """`unfreeze_from`: name of a layer or block, a layer number, or "auto" for the backbone's default (architectures.py); the base is
    trained from this layer up. `random_dihedral`: apply a random flip or 90-degree rotation to each view in every epoch.
    `low_resolution_epochs_fraction`: fraction of the epochs, the first ones, that train on smaller images;
    `low_resolution_size_fraction`: their size as a fraction of image_size."""

    unfreeze_from: Annotated[int, Field(ge=0)] | Annotated[str, Field(min_length=1)]
    learning_rate: Rate
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    warmup_epochs: Annotated[float, Field(ge=0)]
    batch_size: BatchSize
    epochs: Epochs
    patience: Annotated[int, Field(ge=1)]
    class_weight_power: Share
    random_dihedral: bool
    low_resolution_epochs_fraction: Annotated[float, Field(ge=0, lt=1)]
    low_resolution_size_fraction: Annotated[float, Field(gt=0, lt=1)]

    @model_validator(mode="after")
    def _warms_up_within_its_epochs(self) -> "Finetune":
        if self.warmup_epochs > self.epochs:
            raise ValueError(
                f"warmup_epochs ({self.warmup_epochs:g}) must be at most epochs ({self.epochs}): training would end before the full rate"
            )
        return self


class Evaluate(Section):
    """`target_critical_sensitivity`: sensitivity on validation that the logit of the label set's critical class is raised to
    reach. `set_coverage`: probability with which a prediction set contains the true class. `min_subgroup_groups`: groups of a subgroup
    below which it gets no figures. `triage_sensitivities`: by class of a label set; classes that the model does not have are not used.
    `prevalences`: shares of malignant images, `dataset` for that of test; `utilities`: a file in utilities/, or null."""

    target_critical_sensitivity: Annotated[float, Field(ge=0, lt=1)]
    bootstrap_resamples: Annotated[int, Field(ge=100, le=100_000)]
    calibration_bins: Annotated[int, Field(ge=2, le=100)]
    set_coverage: Annotated[float, Field(ge=0.5, lt=1)]
    min_subgroup_groups: Annotated[int, Field(ge=2)]
    gallery_images: Annotated[int, Field(ge=1, le=100)]
    triage_sensitivities: dict[str, Rate]
    triage_default_sensitivity: Rate
    rule_in_specificity: Rate
    prevalences: tuple[Literal["dataset"] | Prevalence, ...]
    net_benefit_prevalence: Prevalence
    utilities: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")] | None


class Serve(Section):
    """`max_abstention`: share of the images of the calibration half of validation from which the model abstains, at most. `views`:
    symmetries of the square that probabilities are averaged over; auto: chosen on validation. `prevalence`: in the clinic, the share of
    malignant images or the share of each class, to which probabilities are also shifted; null: not known. `max_novelty`: share of images
    like those of validation that may count as unlike anything in training. `similar_pictures`: collections whose training images leave
    with the version as thumbnails. `ask_first`: whether the service's page asks for the reader's own impression before it shows the
    answer."""

    max_abstention: Annotated[float, Field(ge=0, lt=1)]
    views: Literal["auto", 1, 2, 4, 8]
    prevalence: Prevalence | dict[str, Prevalence] | None
    max_novelty: Annotated[float, Field(ge=0, lt=1)]
    similar_pictures: tuple[str, ...]
    ask_first: bool = False


class Export(Section):
    """`min_int8_agreement`, `min_float16_agreement`: share of test images with the same prediction as Keras, below which the file is not
    written."""

    calibration_images: Annotated[int, Field(ge=10, le=10_000)]
    latency_runs: Annotated[int, Field(ge=5, le=10_000)]
    min_int8_agreement: Share
    min_float16_agreement: Share


class Register(Section):
    """The gate: thresholds that a challenger must meet to become champion. `max_drop`: largest drop of balanced accuracy and of the
    critical class's sensitivity, compared with the champion and the best version. A group is the test images of one patient or, where
    patients are not known, of one lesion. `min_comparable_groups`: test groups that neither the challenger nor a champion with another
    test split was trained, stopped or calibrated on, below which a person decides; of the critical class, `min_critical_groups` of them.
    `max_subgroup_gap`: largest difference between the balanced accuracy of all test images and that of the worst subgroup.
    `min_triage_sensitivity`: of all malignant test images; `min_set_coverage`: share of test images whose prediction set contains the
    true class; `max_changed_diagnoses`: share of test images of which more than one diagnosis is named after a small change. Each null:
    not judged."""

    registered_model: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
    promotion: Literal["automatic", "manual"]
    min_balanced_accuracy: Share
    min_critical_sensitivity: Share
    max_drop: Share
    min_test_groups: Annotated[int, Field(ge=0)]
    min_critical_groups: Annotated[int, Field(ge=0)]
    min_comparable_groups: Annotated[int, Field(ge=1)]
    max_calibration_error: Share
    max_shift_drop: Share
    max_square_crop_drop: Share
    max_collection_drop: Share
    max_subgroup_gap: Share | None
    min_triage_sensitivity: Share | None
    min_set_coverage: Share | None
    max_changed_diagnoses: Share | None


class Settings(Section):
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    labels: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
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
    serve: Serve
    export: Export
    registration: Annotated[Register, Field(alias="register")]
    cross_validation: CrossValidation
    tuning: Tuning
    overrides: tuple[str, ...]

    @model_validator(mode="after")
    def _backbone_is_described(self) -> "Settings":
        if self.backbone not in self.backbones:
            raise ValueError(f"backbone: {self.backbone!r} is not one of backbones: {', '.join(sorted(self.backbones))}")
        return self

    @model_validator(mode="after")
    def _backbone_has_the_layer_to_unfreeze_from(self) -> "Settings":
        try:
            start = architectures.unfreeze_from(self.base.architecture, self.finetune.unfreeze_from)
            architectures.layer_number(list(architectures.layers_of(self.base.architecture)), start)
        except LesionflowError as fault:
            raise ValueError(f"{fault} (backbone {self.backbone}: {self.base.architecture}); or {architectures.AUTO!r}") from None
        return self

    @model_validator(mode="after")
    def _every_value_that_a_search_tries_is_valid(self) -> "Settings":
        sections = {"train": self.train, "finetune": self.finetune, "augment": self.augment}
        require_valid_spaces(self.tuning, sections, self.base.architecture)
        return self

    def with_values(self, values: Mapping[str, Any]) -> "Settings":
        """The settings with other values of keys such as train.dropout."""
        return Settings.model_validate(with_values(self.model_dump(by_alias=True), values))

    @property
    def base(self) -> Backbone:
        """The backbone in use."""
        return self.backbones[self.backbone]

    @property
    def overrides_beyond_training(self) -> list[str]:
        """Overrides of this run outside the training parameters; a run with such overrides is never promoted automatically."""
        return [text for text in self.overrides if text.lstrip("+").partition("=")[0].partition(".")[0] not in TRAINING_PARAMS]

    def logged(self, phase: str) -> dict[str, Any]:
        """Parameters logged to MLflow for a phase's run: seed, backbone and the sections that determine the phase."""
        chosen = {name: getattr(self, name).model_dump() for name in SECTIONS_OF[phase]}
        if "finetune" in chosen:
            chosen["finetune"]["unfreeze_from"] = architectures.unfreeze_from(self.base.architecture, self.finetune.unfreeze_from)
        backbone = {"name": self.backbone, **self.base.model_dump()}
        return {"seed": self.seed, "backbone": backbone, **chosen}
