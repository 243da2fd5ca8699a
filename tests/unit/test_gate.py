import pytest

from components import gate
from components.metrics import Estimate

TEST = {
    "balanced_accuracy": {"value": 0.7, "low": 0.65, "high": 0.75},
    "melanoma_sensitivity": {"value": 0.6, "low": 0.5, "high": 0.7},
    "calibration_error": {"value": 0.04, "low": 0.02, "high": 0.06},
}
EXPORT = {"float16": {"same_top1": 0.99}, "int8": {"same_top1": 0.5}}


def failed(rules):
    return [rule.name for rule in rules if not rule.passed]


def test_a_good_first_candidate_passes_with_no_champion_to_beat(settings):
    rules = gate.judge(TEST, EXPORT, None, settings.registration, ())
    assert gate.passed(rules)
    assert len(rules) == 5


@pytest.mark.parametrize(
    ("figure", "value", "rule"),
    [
        ("balanced_accuracy", 0.49, "balanced accuracy floor"),
        ("melanoma_sensitivity", 0.39, "melanoma sensitivity floor"),
        ("calibration_error", 0.13, "calibration error ceiling"),
    ],
)
def test_each_floor_and_ceiling_fails_alone_and_says_by_how_much(settings, figure, value, rule):
    rules = gate.judge({**TEST, figure: {"value": value, "low": 0.1, "high": 0.9}}, EXPORT, None, settings.registration, ())
    assert failed(rules) == [rule]
    assert f"{value:.3f} [0.100, 0.900]" in next(item.says for item in rules if not item.passed)


def test_an_export_that_disagrees_fails(settings):
    rules = gate.judge(TEST, {"float16": {"same_top1": 0.5}}, None, settings.registration, ())
    assert failed(rules) == ["export agrees"]


def test_an_int8_export_that_disagrees_is_warned_of_and_does_not_fail_the_gate():
    assert "only 0.500 of test images" in gate.int8_warning(EXPORT, 0.9)
    assert gate.int8_warning({"int8": {"same_top1": 0.95}}, 0.9) is None


@pytest.mark.parametrize(
    ("gain", "melanoma", "names"),
    [
        (Estimate(-0.01, -0.03, 0.01), Estimate(-0.05, -0.1, 0.0), []),
        (Estimate(-0.05, -0.08, -0.01), Estimate(0.0, -0.1, 0.1), ["not worse than the champion"]),
        (Estimate(0.05, 0.01, 0.08), Estimate(-0.06, -0.1, 0.0), ["melanoma sensitivity kept"]),
    ],
    ids=["within noise", "worse", "loses melanomas"],
)
def test_a_challenger_is_held_against_the_champion(settings, gain, melanoma, names):
    rules = gate.judge(TEST, EXPORT, gate.Comparison("3", gain, melanoma), settings.registration, ())
    assert failed(rules) == names


def test_a_class_without_test_images_keeps_a_version_from_becoming_champion(settings):
    rules = gate.judge(TEST, EXPORT, None, settings.registration, ["seborrheic_keratosis"])
    assert [rule.says for rule in rules if not rule.passed] == ["no test image of seborrheic keratosis"]
