import pytest

from components.core.reports.evaluation import CollectionResult, Estimate, Evaluation, PredictionSets
from components.evaluation import shifts
from components.registry import gate
from tests.support import documents
from tests.support.labels import ISIC9, RASH

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


def evaluation(test=TEST, shifts=SHIFTS, collections=COLLECTIONS) -> Evaluation:
    return documents.evaluation(test=documents.metrics_on_test(**test), shifts=shifts, collections_left_out=collections)


GOOD = evaluation()


def failed_rules(rules):
    return [rule.name for rule in rules if not rule.passed]


def test_good_candidate_passes_without_champion(settings):
    rules = gate.evaluate_rules(GOOD, EXPORT, (), settings.registration, ENOUGH)
    assert gate.passed(rules)
    assert len(rules) == 13


@pytest.mark.parametrize(
    ("metric", "value", "rule"),
    [
        ("balanced_accuracy", 0.49, "balanced accuracy floor"),
        ("critical_sensitivity", 0.39, "melanoma sensitivity floor"),
        ("calibration_error", 0.13, "calibration error ceiling"),
    ],
)
def test_each_floor_and_ceiling_fails_independently(settings, metric, value, rule):
    rules = gate.evaluate_rules(evaluation({**TEST, metric: Estimate(value, 0.1, 0.9)}), EXPORT, (), settings.registration, ENOUGH)
    assert failed_rules(rules) == [rule]
    assert f"{value:.3f} [0.100, 0.900]" in next(item.says for item in rules if not item.passed)


CLINIC_RULES = {
    "min_triage_sensitivity": ("triage_sensitivity", "triage sensitivity floor", 0.8),
    "min_set_coverage": ("prediction_sets", "prediction set coverage floor", 0.85),
    "max_changed_diagnoses": ("changed_diagnosis", "changed diagnoses ceiling", 0.05),
}


def clinic_report(value):
    estimate = Estimate(value, 0.0, 1.0)
    sets = PredictionSets(
        benign_without_malignant=None,
        coverage=estimate,
        coverage_by_class={},
        critical_coverage=None,
        malignant_without_malignant=None,
        pooled=(),
        size=estimate,
        target=0.9,
        thresholds={},
    )
    return GOOD.model_copy(update={"triage_sensitivity": estimate, "prediction_sets": sets, "changed_diagnosis": estimate})


@pytest.mark.parametrize("param", CLINIC_RULES)
def test_rules_for_clinic_judge_their_figure(settings, param):
    figure, rule, threshold = CLINIC_RULES[param]
    off = dict.fromkeys(CLINIC_RULES, None)
    thresholds = settings.registration.model_copy(update={**off, param: threshold})
    for value in (threshold - 0.01, threshold, threshold + 0.01):
        rules = gate.evaluate_rules(clinic_report(value), EXPORT, (), thresholds, ENOUGH)
        right = value <= threshold if param.startswith("max") else value >= threshold
        assert failed_rules(rules) == ([] if right else [rule])
    older = GOOD.model_copy(update={figure: None})
    (failed,) = [rule for rule in gate.evaluate_rules(older, EXPORT, (), thresholds, ENOUGH) if not rule.passed]
    assert failed.says == f"not measured {gate.REEVALUATE_HINT}"


def test_only_triage_is_judged_by_default(settings):
    assert settings.registration.min_triage_sensitivity == 0.8
    bad = clinic_report(0.0).model_copy(update={"changed_diagnosis": Estimate(1.0, 1.0, 1.0)})
    assert failed_rules(gate.evaluate_rules(bad, EXPORT, (), settings.registration, ENOUGH)) == ["triage sensitivity floor"]
    without_malignant = bad.model_copy(update={"label_set": RASH, "triage_sensitivity": None})
    assert failed_rules(gate.evaluate_rules(without_malignant, EXPORT, (), settings.registration, ENOUGH)) == []


def test_balanced_accuracy_of_few_groups_is_marked_uncertain(settings):
    coverage = gate.Coverage(99, 13, few={"vascular_lesion": 9})
    rules = gate.evaluate_rules(GOOD, EXPORT, (), settings.registration, coverage)
    marked = next(rule for rule in rules if rule.name == "balanced accuracy floor")
    assert marked.passed
    assert marked.says.endswith("uncertain, for it rests on few groups: 9 of vascular lesion")


@pytest.mark.parametrize("precision", ["float32", "float16", "server"])
def test_float_export_that_was_not_written_fails_with_its_reason(settings, precision):
    rules = gate.evaluate_rules(GOOD, documents.export_report(**{precision: 0.5}), (), settings.registration, ENOUGH)
    assert failed_rules(rules) == [f"{precision} export agrees"]
    assert "only 0.500 of test images" in next(rule.says for rule in rules if not rule.passed)


def test_int8_export_that_was_not_written_passes(settings):
    assert not EXPORT.int8.written
    assert gate.passed(gate.evaluate_rules(GOOD, EXPORT, (), settings.registration, ENOUGH))


@pytest.mark.parametrize("precision", ["float32", "server"])
def test_older_report_without_a_float_export_fails(settings, precision):
    older = EXPORT.model_copy(update={precision: None})
    rules = gate.evaluate_rules(GOOD, older, (), settings.registration, ENOUGH)
    assert failed_rules(rules) == [f"{precision} export agrees"]
    assert "was not measured when this version was evaluated" in next(rule.says for rule in rules if not rule.passed)


@pytest.mark.parametrize(("value", "low", "high", "passes"), [
    (-0.01, -0.03, 0.01, True),
    (0.0, 0.0, 0.0, True),
    (-0.01, -0.06, 0.04, False),
    (0.02, -0.05, 0.09, False),
    (-0.08, -0.1, -0.06, False),
], ids=["interval within margin", "no change", "wide interval", "better with wide interval", "interval below margin"])  # fmt: skip
@pytest.mark.parametrize("metric", ["balanced_accuracy", "critical_sensitivity"])
@pytest.mark.parametrize("best", [True, False], ids=["best", "champion"])
def test_interval_of_drop_must_be_within_margin(settings, metric, best, value, low, high, passes):
    comparison = gate.Comparison(ISIC9.metric_label(metric), "3", Estimate(value, low, high), best)
    rules = gate.evaluate_rules(GOOD, EXPORT, [comparison], settings.registration, ENOUGH)
    name = f"{ISIC9.metric_label(metric)} kept against the {'best' if best else 'champion'}"
    assert failed_rules(rules) == ([] if passes else [name])
    message = next(rule.says for rule in rules if rule.name == name)
    assert f"against {'the best' if best else 'champion'} version 3; the whole interval must be above -0.050" in message
    assert ("too few" in message) == (not passes and value > -0.05)


@pytest.mark.parametrize(("coverage", "rule"), [
    (gate.Coverage(49, 13), "enough test groups"), (gate.Coverage(99, 9), "enough melanoma test groups"),
])  # fmt: skip
def test_too_few_test_groups_fail(settings, coverage, rule):
    rules = gate.evaluate_rules(GOOD, EXPORT, (), settings.registration, coverage)
    assert failed_rules(rules) == [rule]


def test_class_without_test_images_fails(settings):
    rules = gate.evaluate_rules(GOOD, EXPORT, (), settings.registration, gate.Coverage(99, 13, ["seborrheic_keratosis"]))
    assert [rule.says for rule in rules if not rule.passed] == ["no test image of seborrheic keratosis"]


def shifts_with_drops(**values):
    return SHIFTS | {name: documents.shift_result(0.7 - value, value, 0.0, 0.2) for name, value in values.items()}


def test_shifts_with_large_drop_fail_and_are_named(settings):
    limits = settings.registration.model_copy(update={"max_shift_drop": 0.05})
    rules = gate.evaluate_rules(evaluation(shifts=shifts_with_drops(blur=0.06, vignette=0.08, narrow=0.05)), EXPORT, (), limits, ENOUGH)
    assert failed_rules(rules) == ["robust to shifts"]
    message = next(rule.says for rule in rules if not rule.passed)
    assert "+0.060 [+0.000, +0.200] under blur, +0.080 [+0.000, +0.200] under vignette; at most 0.050 allowed" in message
    assert "narrow" not in message


def test_square_crop_has_its_own_stricter_rule(settings):
    rules = gate.evaluate_rules(evaluation(shifts=shifts_with_drops(square_crop=0.04)), EXPORT, (), settings.registration, ENOUGH)
    assert failed_rules(rules) == ["robust to a square crop"]


def test_passing_shift_rule_names_worst_shift(settings):
    rules = gate.evaluate_rules(evaluation(shifts=shifts_with_drops(blur=0.03)), EXPORT, (), settings.registration, ENOUGH)
    assert "+0.030 [+0.000, +0.200] under blur" in next(rule.says for rule in rules if rule.name == "robust to shifts")


def test_version_without_shifts_fails_with_advice(settings):
    rules = gate.evaluate_rules(evaluation(shifts={}), EXPORT, (), settings.registration, ENOUGH)
    assert failed_rules(rules) == ["robust to shifts", "robust to a square crop"]
    assert all("not measured under" in rule.says and "`dvc repro`" in rule.says for rule in rules if not rule.passed)


def test_single_missing_shift_fails(settings):
    rules = gate.evaluate_rules(
        evaluation(shifts={name: row for name, row in SHIFTS.items() if name != "jpeg_40"}), EXPORT, (), settings.registration, ENOUGH
    )
    assert ["not measured under jpeg 40" in rule.says for rule in rules if not rule.passed] == [True]


def test_collections_with_large_drop_fail_and_are_named(settings):
    two_collections = COLLECTIONS | {"BCN_20000": collection(0.3, 0.4, 0.3, 0.5)}
    rules = gate.evaluate_rules(evaluation(collections=two_collections), EXPORT, (), settings.registration, ENOUGH)
    assert failed_rules(rules) == ["carries to other collections"]
    message = next(rule.says for rule in rules if not rule.passed)
    assert "+0.400 [+0.300, +0.500] on BCN_20000 left out; at most 0.250 allowed" in message
    assert "HAM10000" not in message


SUBGROUPS = {"age": {"0-29": documents.subgroup(), "70+": documents.subgroup(0.55)}, "sex": {"female": documents.subgroup(0.65)}}


def rules_on_subgroups(settings, limit, **subgroups):
    limits = settings.registration.model_copy(update={"max_subgroup_gap": limit})
    measured = documents.evaluation(test=documents.metrics_on_test(**TEST), shifts=SHIFTS, collections_left_out=COLLECTIONS, **subgroups)
    return [rule for rule in gate.evaluate_rules(measured, EXPORT, (), limits, ENOUGH) if rule.name == "as good on every subgroup"]


@pytest.mark.parametrize(("limit", "passes"), [(0.1, False), (0.2, True)])
def test_gap_to_worst_subgroup_must_be_within_limit(settings, limit, passes):
    [rule] = rules_on_subgroups(settings, limit, subgroups=SUBGROUPS)
    assert rule.passed == passes
    said = "balanced accuracy 0.550 [0.450, 0.650] on the worst subgroup, age 70+: 0.150 below all test images"
    assert rule.says == f"{said}; at most {limit:.3f} allowed"


def test_subgroups_are_judged_only_if_a_gap_is_set_and_only_if_there_are_figures(settings):
    assert rules_on_subgroups(settings, None, subgroups=SUBGROUPS) == []
    assert settings.registration.max_subgroup_gap is None
    assert [rule.passed for rule in rules_on_subgroups(settings, 0.1, subgroups={"sex": {"male": documents.subgroup()}})] == [True]
    [older] = rules_on_subgroups(settings, 0.1)
    assert not older.passed
    assert "not measured on subgroups when this version was evaluated: `dvc repro`" in older.says


def test_missing_collection_results_fail_and_single_collection_passes(settings):
    not_measured, single_collection = (
        gate.evaluate_rules(evaluation(collections=results), EXPORT, (), settings.registration, ENOUGH) for results in (None, {})
    )
    assert failed_rules(not_measured) == ["carries to other collections"]
    assert "`dvc repro`" in next(rule.says for rule in not_measured if not rule.passed)
    assert gate.passed(single_collection)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"outputs": ISIC9.outputs[1:], "malignant": ISIC9.malignant[1:]}, "version 3: lost: actinic keratosis"),
        ({"outputs": (*ISIC9.outputs, "psoriasis")}, "version 3: gained: psoriasis"),
        ({"malignant": ("melanoma", *ISIC9.malignant[2:])}, "no longer malignant: actinic keratosis, basal cell carcinoma"),
        ({"malignant": (*ISIC9.malignant, "nevus")}, "malignant now: nevus"),
        ({"critical": None}, "critical class none in place of melanoma"),
        ({"outputs": ISIC9.outputs[::-1]}, "the outputs are in another order"),
    ],
)
def test_other_outputs_than_the_champion_fail_whatever_the_figures(changes, message):
    rule = gate.rule_same_classes(ISIC9.model_copy(update=changes), ISIC9, "3")
    assert not rule.passed
    assert message in rule.says


def test_same_outputs_under_another_name_pass():
    assert gate.rule_same_classes(ISIC9.model_copy(update={"name": "renamed"}), ISIC9, "3").passed


def test_label_set_without_critical_class_is_judged_without_its_sensitivity(settings):
    without = {**documents.metrics_on_test(**TEST).model_dump(), "critical_sensitivity": None}
    unguarded = documents.evaluation(test=without, shifts=SHIFTS, collections_left_out=COLLECTIONS, label_set=RASH)
    rules = gate.evaluate_rules(unguarded, EXPORT, (), settings.registration, gate.Coverage(99, 0))
    assert gate.passed(rules)
    assert [rule.says for rule in rules if rule.name == "critical class"] == [
        "label set rash has no critical class here, so no sensitivity is guarded"
    ]
