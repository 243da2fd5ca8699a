import pytest

from components.core.classes import metric_label
from components.core.reports.evaluation import CollectionResult, Estimate, Evaluation
from components.evaluation import shifts
from components.registry import gate
from tests.support import documents

TEST = {
    "balanced_accuracy": Estimate(0.7, 0.65, 0.75),
    "critical_sensitivity": Estimate(0.6, 0.5, 0.7),
    "calibration_error": Estimate(0.04, 0.02, 0.06),
}
SHIFTS = {name: documents.shift_result(0.68, 0.02, 0.01, 0.03) for name in shifts.SHIFTS}
ENOUGH = gate.Coverage(99, 13)
EXPORT = documents.export_report(0.99, 0.5)


def collection(balanced_accuracy: float, *drop: float) -> CollectionResult:
    return CollectionResult(images=10, classes=("melanoma", "nevus"), balanced_accuracy=balanced_accuracy, drop=Estimate(*drop))


COLLECTIONS = {"HAM10000": collection(0.5, 0.2, 0.1, 0.3)}


def measured(test=TEST, shifts=SHIFTS, collections=COLLECTIONS) -> Evaluation:
    return documents.evaluation(test=documents.metrics_on_test(**test), shifts=shifts, collections_left_out=collections)


GOOD = measured()


def failed(rules):
    return [rule.name for rule in rules if not rule.passed]


def test_a_good_first_candidate_passes_with_no_champion_to_beat(settings):
    rules = gate.evaluate_rules(GOOD, EXPORT, (), settings.registration, ENOUGH)
    assert gate.passed(rules)
    assert len(rules) == 10


@pytest.mark.parametrize(
    ("figure", "value", "rule"),
    [
        ("balanced_accuracy", 0.49, "balanced accuracy floor"),
        ("critical_sensitivity", 0.39, "melanoma sensitivity floor"),
        ("calibration_error", 0.13, "calibration error ceiling"),
    ],
)
def test_each_floor_and_ceiling_fails_alone_and_says_by_how_much(settings, figure, value, rule):
    rules = gate.evaluate_rules(measured({**TEST, figure: Estimate(value, 0.1, 0.9)}), EXPORT, (), settings.registration, ENOUGH)
    assert failed(rules) == [rule]
    assert f"{value:.3f} [0.100, 0.900]" in next(item.says for item in rules if not item.passed)


def test_a_balanced_accuracy_on_few_lesions_of_a_class_is_marked(settings):
    few = gate.Coverage(99, 13, few={"vascular_lesion": 9})
    rules = gate.evaluate_rules(GOOD, EXPORT, (), settings.registration, few)
    marked = next(rule for rule in rules if rule.name == "balanced accuracy floor")
    assert marked.passed
    assert marked.says.endswith("uncertain, for it rests on few lesions: 9 of vascular lesion")


def test_an_export_that_disagrees_fails(settings):
    rules = gate.evaluate_rules(GOOD, documents.export_report(0.5), (), settings.registration, ENOUGH)
    assert failed(rules) == ["export agrees"]


def test_an_int8_export_that_disagrees_is_warned_of_and_does_not_fail_the_gate():
    assert "only 0.500 of test images" in gate.int8_warning(EXPORT, 0.9)
    assert gate.int8_warning(documents.export_report(int8=0.95), 0.9) is None


@pytest.mark.parametrize(("value", "low", "high", "passes"), [
    (-0.01, -0.03, 0.01, True),
    (0.0, 0.0, 0.0, True),
    (-0.01, -0.06, 0.04, False),
    (0.02, -0.05, 0.09, False),
    (-0.08, -0.1, -0.06, False),
], ids=["surely small", "none", "too wide to tell", "better and too wide to tell", "surely too large"])  # fmt: skip
@pytest.mark.parametrize("figure", ["balanced_accuracy", "critical_sensitivity"])
@pytest.mark.parametrize("best", [True, False], ids=["best", "champion"])
def test_a_loss_must_be_surely_below_the_margin_against_champion_and_best(settings, figure, best, value, low, high, passes):
    comparison = gate.Comparison(figure, "3", Estimate(value, low, high), best)
    rules = gate.evaluate_rules(GOOD, EXPORT, [comparison], settings.registration, ENOUGH)
    name = f"{metric_label(figure)} kept against the {'best' if best else 'champion'}"
    assert failed(rules) == ([] if passes else [name])
    said = next(rule.says for rule in rules if rule.name == name)
    assert f"against {'the best' if best else 'champion'} version 3; the whole interval must be above -0.050" in said
    assert ("too few" in said) == (not passes and value > -0.05)


@pytest.mark.parametrize(("coverage", "rule"), [
    (gate.Coverage(49, 13), "enough test lesions"), (gate.Coverage(99, 9), "enough melanoma test lesions"),
])  # fmt: skip
def test_too_few_lesions_on_the_test_side_fail_and_are_counted(settings, coverage, rule):
    rules = gate.evaluate_rules(GOOD, EXPORT, (), settings.registration, coverage)
    assert failed(rules) == [rule]


def test_a_class_without_test_images_keeps_a_version_from_becoming_champion(settings):
    rules = gate.evaluate_rules(GOOD, EXPORT, (), settings.registration, gate.Coverage(99, 13, ["seborrheic_keratosis"]))
    assert [rule.says for rule in rules if not rule.passed] == ["no test image of seborrheic keratosis"]


def lost(**values):
    return SHIFTS | {name: documents.shift_result(0.7 - value, value, 0.0, 0.2) for name, value in values.items()}


def test_every_shift_that_costs_too_much_is_named_with_its_figure(settings):
    knobs = settings.registration.model_copy(update={"max_shift_drop": 0.05})
    rules = gate.evaluate_rules(measured(shifts=lost(blur=0.06, vignette=0.08, narrow=0.05)), EXPORT, (), knobs, ENOUGH)
    assert failed(rules) == ["robust to shifts"]
    said = next(rule.says for rule in rules if not rule.passed)
    assert "+0.060 [+0.000, +0.200] under blur, +0.080 [+0.000, +0.200] under vignette; at most 0.050 allowed" in said
    assert "narrow" not in said


def test_a_square_crop_is_allowed_less_and_judged_alone(settings):
    rules = gate.evaluate_rules(measured(shifts=lost(square_crop=0.04)), EXPORT, (), settings.registration, ENOUGH)
    assert failed(rules) == ["robust to a square crop"]


def test_a_robust_version_is_told_its_worst_shift(settings):
    rules = gate.evaluate_rules(measured(shifts=lost(blur=0.03)), EXPORT, (), settings.registration, ENOUGH)
    assert "+0.030 [+0.000, +0.200] under blur" in next(rule.says for rule in rules if rule.name == "robust to shifts")


def test_a_version_without_shifts_fails_and_is_told_how_to_get_them(settings):
    rules = gate.evaluate_rules(measured(shifts={}), EXPORT, (), settings.registration, ENOUGH)
    assert failed(rules) == ["robust to shifts", "robust to a square crop"]
    assert all("not measured under" in rule.says and "`dvc repro`" in rule.says for rule in rules if not rule.passed)


def test_one_shift_that_was_not_measured_fails_alone(settings):
    rules = gate.evaluate_rules(
        measured(shifts={name: row for name, row in SHIFTS.items() if name != "jpeg_40"}), EXPORT, (), settings.registration, ENOUGH
    )
    assert ["not measured under jpeg 40" in rule.says for rule in rules if not rule.passed] == [True]


def test_every_collection_that_a_head_does_not_carry_to_is_named(settings):
    two = COLLECTIONS | {"BCN_20000": collection(0.3, 0.4, 0.3, 0.5)}
    rules = gate.evaluate_rules(measured(collections=two), EXPORT, (), settings.registration, ENOUGH)
    assert failed(rules) == ["carries to other collections"]
    said = next(rule.says for rule in rules if not rule.passed)
    assert "+0.400 [+0.300, +0.500] on BCN_20000 left out; at most 0.250 allowed" in said
    assert "HAM10000" not in said


def test_a_version_without_collections_left_out_fails_and_images_of_one_collection_pass(settings):
    before, one = (gate.evaluate_rules(measured(collections=given), EXPORT, (), settings.registration, ENOUGH) for given in (None, {}))
    assert failed(before) == ["carries to other collections"]
    assert "`dvc repro`" in next(rule.says for rule in before if not rule.passed)
    assert gate.passed(one)
