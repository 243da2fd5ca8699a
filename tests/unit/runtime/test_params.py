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


def test_the_repositorys_params_are_in_order():
    settings = load(ROOT / "params.yaml")
    assert settings.base.architecture == "MobileNetV2"


@pytest.mark.parametrize("section", SECTIONS)
def test_a_misspelled_key_stops_with_its_name_and_what_is_allowed(params, section):
    key = next(iter(params[section]))
    params[section][f"{key}x"] = params[section].pop(key)
    with pytest.raises(ParamsError) as fault:
        parse(params)
    assert f"{section}.{key}x: unknown key" in str(fault.value)
    assert f"did you mean {key!r}" in str(fault.value)
    assert f"{section}.{key}: missing key" in str(fault.value)


@pytest.mark.parametrize(
    ("section", "key", "value", "said"),
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
def test_a_value_out_of_range_stops_with_the_key_the_value_and_the_range(params, section, key, value, said):
    params[section][key] = value
    with pytest.raises(ParamsError) as fault:
        parse(params)
    assert said in str(fault.value)


def test_a_backbone_nobody_described_is_named_with_those_there_are(params):
    params["backbone"] = "resnet"
    with pytest.raises(ParamsError, match=r"'resnet' is not one of backbones: imagenet, starter"):
        parse(params)


def test_an_unknown_architecture_is_named_with_the_allowed_ones(params):
    params["backbones"]["starter"]["architecture"] = "VGG16"
    with pytest.raises(ParamsError, match=r"architecture: 'VGG16' is not allowed: .*'MobileNetV2', 'EfficientNetB0' or 'ResNet50'"):
        parse(params)


def test_only_mobilenet_takes_a_width(params):
    params["backbones"]["starter"] |= {"architecture": "ResNet50", "alpha": 0.35}
    with pytest.raises(ParamsError, match=r"alpha must be 1\.0 for ResNet50"):
        parse(params)


@pytest.mark.parametrize(
    ("architecture", "block"), [("MobileNetV2", "block_3"), ("EfficientNetB0", "block3a"), ("ResNet50", "conv3_block1")]
)
def test_auto_unfreezes_from_the_architectures_own_block_and_mlflow_is_given_its_name(params, architecture, block):
    params["backbones"]["starter"] |= {"architecture": architecture, "alpha": 1.0}
    assert parse(params).logged("finetuned")["finetune"]["unfreeze_from"] == block
    params["finetune"]["unfreeze_from"] = 12
    assert parse(params).logged("finetuned")["finetune"]["unfreeze_from"] == 12


@pytest.mark.parametrize(
    ("architecture", "start", "said"),
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
def test_a_layer_that_the_backbone_lacks_is_refused_before_anything_runs(params, architecture, start, said):
    params["backbones"]["starter"] |= {"architecture": architecture, "alpha": 1.0}
    params["finetune"]["unfreeze_from"] = start
    with pytest.raises(ParamsError, match=f"finetune.unfreeze_from: .*{said}"):
        parse(params)


def test_a_width_without_imagenet_weights_is_refused(params):
    params["backbones"]["imagenet"]["alpha"] = 0.6
    with pytest.raises(ParamsError, match=r"backbones.imagenet: ImageNet weights exist only for alpha 0.35, .*1.4, not for 0.6"):
        parse(params)


def test_a_misspelled_backbone_key_says_what_a_backbone_takes(params):
    params["backbones"]["starter"]["wieghts"] = "x"
    with pytest.raises(ParamsError, match=r"backbones.starter.wieghts: unknown key; did you mean 'weights'"):
        parse(params)


def test_settings_are_frozen(settings):
    with pytest.raises(ValueError, match="frozen"):
        settings.train.dropout = 0.9


def test_a_missing_file_and_broken_yaml_say_so(tmp_path):
    with pytest.raises(ParamsError, match=r"does not exist\. Run this command from the project's root"):
        load(tmp_path / "params.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1,", encoding="utf-8")
    with pytest.raises(ParamsError, match="is not valid YAML"):
        load(broken)
    broken.write_text("- 1", encoding="utf-8")
    with pytest.raises(ParamsError, match="must be a mapping"):
        load(Path(broken))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    ),
    st.sampled_from(list(PARAMS)),
)
def test_whatever_stands_in_a_section_either_parses_or_stops_with_a_message(value, section):
    document = {**PARAMS, section: value}
    try:
        parse(document)
    except ParamsError as fault:
        assert str(fault)


def said_of(params: dict) -> list[str]:
    with pytest.raises(ParamsError) as fault:
        parse(params)
    return str(fault.value).splitlines()


@pytest.mark.parametrize(("old", "new"), renamed_params.KEYS.items())
def test_a_key_that_was_renamed_says_its_new_name_and_nothing_else(params, old, new):
    section, key = new.split(".")
    params[section][old.partition(".")[2]] = params[section].pop(key)
    assert said_of(params) == [f"params: `{old}` was renamed to `{new}`"]


def test_a_policy_of_before_is_answered_with_every_new_name_at_once(params):
    olds = {new: old for old, new in renamed_params.KINDS.items()}
    params["validate"]["policy"] = {
        olds.get(kind, kind): {"then": rule["action"], "at_most": rule["max_files"]} for kind, rule in params["validate"]["policy"].items()
    }
    renamed = {f"validate.policy.{old}": f"validate.policy.{new}" for old, new in renamed_params.KINDS.items()}
    renamed |= {"validate.policy.*.then": "validate.policy.*.action", "validate.policy.*.at_most": "validate.policy.*.max_files"}
    assert sorted(said_of(params)) == sorted(f"params: `{old}` was renamed to `{new}`" for old, new in renamed.items())


def test_another_fault_is_named_beside_a_renamed_key(params):
    params["validate"]["max_one_colour"] = params["validate"].pop("max_dominant_color_fraction")
    params["seed"] = -1
    said = said_of(params)
    assert said[0] == "params: `validate.max_one_colour` was renamed to `validate.max_dominant_color_fraction`"
    assert len(said) == 2
    assert "seed: -1" in said[1]


def test_every_new_name_of_a_key_exists():
    for new in renamed_params.KEYS.values():
        section, key = new.split(".")
        assert key in PARAMS[section]
    assert set(renamed_params.KINDS.values()) <= set(PARAMS["validate"]["policy"])


def test_an_override_gets_the_new_name_of_its_key():
    assert renamed_params.with_new_key("+validate.policy.blank.then=warn") == "+validate.policy.low_information.action=warn"
    assert renamed_params.with_new_key("train.dropout=0.4") == "train.dropout=0.4"


@pytest.mark.parametrize(
    ("override", "beyond"),
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
def test_only_overrides_of_how_a_model_is_trained_leave_promotion_automatic(params, override, beyond):
    assert parse({**params, "overrides": [override]}).overrides_beyond_training == ([override] if beyond else [])
