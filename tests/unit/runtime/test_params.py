from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components.core.errors import ParamsError
from components.runtime import renamed_params
from components.runtime.params_file import load, parse
from tests.support.project import ROOT

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
SECTIONS = [name for name, value in PARAMS.items() if isinstance(value, dict) and name != "backbones"]


def test_params_yaml_of_repository_is_valid():
    settings = load(ROOT / "params.yaml")
    assert settings.base.architecture == "MobileNetV2"


@pytest.mark.parametrize("section", SECTIONS)
def test_misspelled_key_is_named_with_suggestion(params, section):
    key = next(iter(params[section]))
    params[section][f"{key}x"] = params[section].pop(key)
    with pytest.raises(ParamsError) as error:
        parse(params)
    assert f"{section}.{key}x: unknown key" in str(error.value)
    assert f"did you mean {key!r}" in str(error.value)
    assert f"{section}.{key}: missing key" in str(error.value)


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("train", "dropout", 1.0, "train.dropout: 1.0 is not allowed"),
        ("train", "hidden_units", [0], "train.hidden_units.0: 0 is not allowed"),
        ("split", "test", 0.23, "must be a multiple of 0.05"),
        ("split", "validation", 0.5, "less than or equal to 0.4"),
        ("augment", "max_views_per_image", 1, "must be at least views_per_image"),
        ("augment", "zoom", [1.1, 1.6], "augment.zoom.0: 1.1 is not allowed"),
        ("augment", "zoom", [0.7, 0.9], "augment.zoom.1: 0.9 is not allowed"),
        ("augment", "zoom", [0.7], "augment.zoom.1: missing key"),
        ("augment", "max_aspect_stretch", 0.8, "greater than or equal to 1"),
        ("augment", "blur_probability", 1.5, "less than or equal to 1"),
        ("augment", "sharpen_probability", -0.1, "augment.sharpen_probability: -0.1 is not allowed"),
        ("images", "resolution", 31, "images.resolution: 31 is not allowed: input should be greater than or equal to 32"),
        ("images", "resolution", "sharp", "images.resolution: 'sharp' is not allowed: input should be 'auto'"),
        ("register", "promotion", "sometimes", "'automatic' or 'manual'"),
        ("finetune", "learning_rate", "fast", "finetune.learning_rate: 'fast'"),
        ("finetune", "warmup_epochs", 9, "finetune: warmup_epochs (9) must be at most epochs (5)"),
        (
            "finetune",
            "low_resolution_epochs_fraction",
            1.0,
            "finetune.low_resolution_epochs_fraction: 1.0 is not allowed: input should be less than 1",
        ),
        (
            "finetune",
            "low_resolution_size_fraction",
            0,
            "finetune.low_resolution_size_fraction: 0 is not allowed: input should be greater than 0",
        ),
    ],
)
def test_value_out_of_range_is_named_with_range(params, section, key, value, message):
    params[section][key] = value
    with pytest.raises(ParamsError) as error:
        parse(params)
    assert message in str(error.value)


def test_unknown_backbone_is_named_with_known_ones(params):
    params["backbone"] = "resnet"
    with pytest.raises(ParamsError, match=r"'resnet' is not one of backbones: imagenet, starter"):
        parse(params)


def test_unknown_architecture_is_named_with_allowed_ones(params):
    params["backbones"]["starter"]["architecture"] = "VGG16"
    with pytest.raises(ParamsError, match=r"architecture: 'VGG16' is not allowed: .*'MobileNetV2', 'EfficientNetB0' or 'ResNet50'"):
        parse(params)


def test_alpha_is_allowed_for_mobilenet_only(params):
    params["backbones"]["starter"] |= {"architecture": "ResNet50", "alpha": 0.35}
    with pytest.raises(ParamsError, match=r"alpha must be 1\.0 for ResNet50"):
        parse(params)


@pytest.mark.parametrize(
    ("architecture", "block"), [("MobileNetV2", "block_3"), ("EfficientNetB0", "block3a"), ("ResNet50", "conv3_block1")]
)
def test_auto_unfreeze_from_is_logged_as_block_of_architecture(params, architecture, block):
    params["backbones"]["starter"] |= {"architecture": architecture, "alpha": 1.0}
    assert parse(params).logged("finetuned")["finetune"]["unfreeze_from"] == block
    params["finetune"]["unfreeze_from"] = 12
    assert parse(params).logged("finetuned")["finetune"]["unfreeze_from"] == 12


@pytest.mark.parametrize(
    ("architecture", "layer", "message"),
    [
        (
            "ResNet50",
            "block_3",
            "the base has no layer or block 'block_3'. Its blocks are conv1_pad, .*conv2_block1, .*conv5_block3 .*ResNet50.* or 'auto'",
        ),
        ("EfficientNetB0", "block_3", "no layer or block 'block_3'. Its blocks are stem, block1a, .*block7a, top"),
        ("MobileNetV2", "block3a", "no layer or block 'block3a'. Its blocks are .*block_16, Conv_1"),
        ("ResNet50", 175, "175 is greater than the number of the base's last layer, 174 .conv5_block3_out."),
    ],
)
def test_unknown_layer_in_unfreeze_from_is_refused(params, architecture, layer, message):
    params["backbones"]["starter"] |= {"architecture": architecture, "alpha": 1.0}
    params["finetune"]["unfreeze_from"] = layer
    with pytest.raises(ParamsError, match=f"finetune.unfreeze_from: .*{message}"):
        parse(params)


def test_alpha_without_imagenet_weights_is_refused(params):
    params["backbones"]["imagenet"]["alpha"] = 0.6
    with pytest.raises(ParamsError, match=r"backbones.imagenet: ImageNet weights exist only for alpha 0.35, .*1.4, not for 0.6"):
        parse(params)


def test_misspelled_backbone_key_is_named_with_suggestion(params):
    params["backbones"]["starter"]["wieghts"] = "x"
    with pytest.raises(ParamsError, match=r"backbones.starter.wieghts: unknown key; did you mean 'weights'"):
        parse(params)


def test_settings_are_frozen(settings):
    with pytest.raises(ValueError, match="frozen"):
        settings.train.dropout = 0.9


def test_missing_or_invalid_file_is_reported(tmp_path):
    with pytest.raises(ParamsError, match=r"does not exist\. Run this command from the project's root"):
        load(tmp_path / "params.yaml")
    invalid = tmp_path / "broken.yaml"
    invalid.write_text("a: [1,", encoding="utf-8")
    with pytest.raises(ParamsError, match="is not valid YAML"):
        load(invalid)
    invalid.write_text("- 1", encoding="utf-8")
    with pytest.raises(ParamsError, match="must be a mapping"):
        load(Path(invalid))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    ),
    st.sampled_from(list(PARAMS)),
)
def test_any_section_value_parses_or_raises_params_error(value, section):
    document = {**PARAMS, section: value}
    try:
        parse(document)
    except ParamsError as error:
        assert str(error)


def error_lines(params: dict) -> list[str]:
    with pytest.raises(ParamsError) as error:
        parse(params)
    return str(error.value).splitlines()


@pytest.mark.parametrize(("old", "new"), renamed_params.KEYS.items())
def test_renamed_key_is_reported_with_new_name_only(params, old, new):
    section, _, key = new.rpartition(".")
    value = (params[section] if section else params).pop(key)
    former_section, _, former_key = old.rpartition(".")
    (params[former_section] if former_section else params)[former_key] = value
    assert error_lines(params) == [f"params: `{old}` was renamed to `{new}`"]


def test_former_policy_is_reported_with_all_new_names(params):
    former_kinds = {new: old for old, new in renamed_params.KINDS.items()}
    params["validate"]["policy"] = {
        former_kinds.get(kind, kind): {"then": rule["action"], "at_most": rule["max_files"]}
        for kind, rule in params["validate"]["policy"].items()
    }
    renamed = {f"validate.policy.{old}": f"validate.policy.{new}" for old, new in renamed_params.KINDS.items()}
    renamed |= {"validate.policy.*.then": "validate.policy.*.action", "validate.policy.*.at_most": "validate.policy.*.max_files"}
    assert sorted(error_lines(params)) == sorted(f"params: `{old}` was renamed to `{new}`" for old, new in renamed.items())


def test_other_errors_are_reported_with_renamed_keys(params):
    params["validate"]["max_one_colour"] = params["validate"].pop("max_dominant_color_fraction")
    params["seed"] = -1
    lines = error_lines(params)
    assert lines[0] == "params: `validate.max_one_colour` was renamed to `validate.max_dominant_color_fraction`"
    assert len(lines) == 2
    assert "seed: -1" in lines[1]


def test_new_names_of_keys_exist():
    for new in renamed_params.KEYS.values():
        section, _, key = new.rpartition(".")
        assert key in (PARAMS[section] if section else PARAMS)
    assert set(renamed_params.KINDS.values()) <= set(PARAMS["validate"]["policy"])


def test_with_new_key_renames_key_of_override():
    assert renamed_params.with_new_key("+validate.policy.blank.then=warn") == "+validate.policy.low_information.action=warn"
    assert renamed_params.with_new_key("train.dropout=0.4") == "train.dropout=0.4"


@pytest.mark.parametrize(
    ("override", "is_beyond"),
    [
        ("train.dropout=0.4", False),
        ("+augment.blur_probability=0.1", False),
        ("embed.max_views_per_image=2", False),
        ("finetune.epochs=3", False),
        ("backbone=imagenet", False),
        ("backbones.starter.image_size=64", True),
        ("register.min_balanced_accuracy=0", True),
        ("evaluate.target_critical_sensitivity=0", True),
        ("validate.policy.low_information.action=warn", True),
        ("seed=3", True),
        ("overrides=[]", True),
        ("trains.dropout=0.4", True),
    ],
)
def test_overrides_beyond_training(params, override, is_beyond):
    assert parse({**params, "overrides": [override]}).overrides_beyond_training == ([override] if is_beyond else [])
