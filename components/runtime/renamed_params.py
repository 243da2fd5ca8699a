"""Old names of keys of params.yaml: a file or an override that uses one is refused with the new name."""

from collections.abc import Iterator, Mapping
from typing import Any

POLICY = "validate.policy"
KINDS = {
    "unplaced": "unknown_class",
    "tiny": "too_small",
    "odd_shape": "odd_aspect_ratio",
    "blank": "low_information",
    "odd_mode": "not_rgb",
    "across_sides": "train_test_leak",
    "missing_licence": "missing_license",
    "scarce_cancer": "small_malignant_class",
    "scarce_class": "small_benign_class",
}
"""New name of each renamed kind of finding."""
POLICY_KEYS = {"then": "action", "at_most": "max_files"}
"""New name of each renamed key of the policy for a kind of finding."""
KEYS = {
    "task": "labels",
    "validate.max_one_colour": "validate.max_dominant_color_fraction",
    "augment.views": "augment.views_per_image",
    "augment.max_views": "augment.max_views_per_image",
    "augment.aspect": "augment.max_aspect_stretch",
    "augment.blur": "augment.blur_probability",
    "augment.sharpen": "augment.sharpen_probability",
    "augment.jpeg": "augment.jpeg_probability",
    "augment.vignette": "augment.vignette_probability",
    "embed.views": "embed.max_views_per_image",
    "train.hidden": "train.hidden_units",
    "train.class_weights": "train.class_weight_power",
    "finetune.class_weights": "finetune.class_weight_power",
    "finetune.symmetries": "finetune.random_dihedral",
    "finetune.small_share": "finetune.low_resolution_epochs_fraction",
    "finetune.small_side": "finetune.low_resolution_size_fraction",
    "evaluate.melanoma_sensitivity": "evaluate.target_critical_sensitivity",
    "evaluate.bootstrap": "evaluate.bootstrap_resamples",
    "evaluate.gallery": "evaluate.gallery_images",
    "register.model": "register.registered_model",
    "register.promote": "register.promotion",
    "register.min_melanoma_sensitivity": "register.min_critical_sensitivity",
    "register.min_melanoma_groups": "register.min_critical_groups",
    "register.max_melanoma_sensitivity_loss": "register.max_drop",
    "register.max_loss": "register.max_drop",
    "register.max_shift_loss": "register.max_shift_drop",
    "register.max_square_crop_loss": "register.max_square_crop_drop",
    "register.max_collection_loss": "register.max_collection_drop",
    "register.min_export_agreement": "export.min_float16_agreement",
}
"""New name of each other renamed key."""


def new_name(key: str) -> str | None:
    """New name of a dotted key, or None if the key was not renamed."""
    if not key.startswith(f"{POLICY}."):
        return KEYS.get(key)
    kind, *rest = key.removeprefix(f"{POLICY}.").split(".")
    new = ".".join([POLICY, KINDS.get(kind, kind), *(POLICY_KEYS.get(name, name) for name in rest)])
    return new if new != key else None


def renamed_keys(params: Mapping[str, Any]) -> dict[str, str]:
    """Old keys in the content of params.yaml, with their new names; `*` stands for every kind of finding."""
    found: dict[str, str] = {}
    for key in _dotted(params):
        parent, _, name = key.rpartition(".")
        if parent.startswith(f"{POLICY}.") and name in POLICY_KEYS:
            found[f"{POLICY}.*.{name}"] = f"{POLICY}.*.{POLICY_KEYS[name]}"
        elif new := new_name(key):
            found[key] = new
    return found


def override_key(override: str) -> str:
    """Dotted key of an override in the format of DVC's --set-param."""
    return override.lstrip("+~").partition("=")[0]


def with_new_key(override: str) -> str:
    """The override under the new name of its key, if the key was renamed."""
    key = override_key(override)
    return override.replace(key, new_name(key) or key, 1)


def describe(old: str, new: str) -> str:
    """The message about an old key."""
    return f"`{old}` was renamed to `{new}`"


def _dotted(params: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in params.items():
        yield f"{above}{key}"
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{above}{key}.")
