"""The gate: what a challenger must pass to become champion, rule by rule."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from components.core.label_set import LabelSet
from components.core.reports.evaluation import CollectionResult, Estimate, Evaluation, ShiftResult
from components.core.reports.export import ExportedModel, ExportReport
from components.core.reports.registration import Rule
from components.evaluation.shifts import SHIFTS, SQUARE_CROP, worst_shift
from components.runtime.params import Register

REEVALUATE_HINT = "when this version was evaluated: `dvc repro` measures and registers one that is"


@dataclass(frozen=True)
class Coverage:
    """Contents of the test split: its groups, those of the critical class, and the classes without an image.

    The model may never name a class without a test image, and no figure would show it. `few`: the classes with so few groups that
    balanced accuracy is uncertain, and how many each has.
    """

    groups: int
    critical_groups: int
    unmeasured: Sequence[str] = ()
    few: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Challenger less another version in one figure, named for people, on the same test images, with its paired bootstrap interval.

    `best`: the other is the best version in this figure on this test split; otherwise it is the champion. `measured_again`: the champion
    was measured on these images now, none of which it has seen.
    """

    figure: str
    version: str
    difference: Estimate
    best: bool = False
    measured_again: bool = False


def evaluate_rules(
    evaluation: Evaluation, export: ExportReport, comparisons: Sequence[Comparison], thresholds: Register, coverage: Coverage
) -> list[Rule]:
    """Apply every rule; all must pass.

    Args:
        evaluation: reports/evaluation.json.
        export: reports/export.json.
        comparisons: against other versions; empty for the rules that need no other version.
        thresholds: section `register` of params.yaml.
        coverage: what the test figures rest on.
    """
    test = evaluation.test
    return [
        _rule_all_classes_tested(coverage.unmeasured),
        _rule_enough_groups("test groups", coverage.groups, thresholds.min_test_groups),
        _marked(_rule_minimum("balanced accuracy", test.balanced_accuracy, thresholds.min_balanced_accuracy), coverage.few),
        *_rules_critical_class(evaluation, thresholds, coverage.critical_groups),
        _rule_maximum("calibration error", test.calibration_error, thresholds.max_calibration_error),
        *_rules_shifts(
            evaluation.shifts, dict.fromkeys(SHIFTS, thresholds.max_shift_drop) | {SQUARE_CROP: thresholds.max_square_crop_drop}
        ),
        _rule_collections(evaluation.collections_left_out, thresholds.max_collection_drop),
        *_rules_subgroups(evaluation, thresholds.max_subgroup_gap),
        *_rules_clinic(evaluation, thresholds),
        *_rules_export_agreement(export),
        *(_rule_against_version(comparison, thresholds.max_drop) for comparison in comparisons),
    ]


def rule_same_classes(labels: LabelSet, of_champion: LabelSet, number: str) -> Rule:
    """A model whose outputs or their meaning differ from the champion's is never promoted automatically, however good its figures."""
    names = (
        ("lost", [name for name in of_champion.outputs if name not in labels.outputs]),
        ("gained", [name for name in labels.outputs if name not in of_champion.outputs]),
        ("no longer malignant", [name for name in labels.outputs if name in of_champion.malignant and name not in labels.malignant]),
        ("malignant now", [name for name in of_champion.outputs if name in labels.malignant and name not in of_champion.malignant]),
    )
    changes = [f"{change}: {', '.join(found)}" for change, found in names if found]
    if labels.critical != of_champion.critical:
        changes.append(f"critical class {labels.critical or 'none'} in place of {of_champion.critical or 'none'}")
    if not changes and labels.identity != of_champion.identity:
        changes.append("the outputs are in another order")
    said = "; ".join(changes) or "outputs and their meaning are the same"
    return Rule("same classes as the champion", not changes, f"version {number}: {said}".replace("_", " "))


def _rules_critical_class(evaluation: Evaluation, thresholds: Register, groups: int) -> list[Rule]:
    labels, sensitivity = evaluation.label_set, evaluation.test.critical_sensitivity
    if labels.critical is None or sensitivity is None:
        return [Rule("critical class", True, f"label set {labels.name} has no critical class here, so no sensitivity is guarded")]
    counted = f"{labels.critical} test groups".replace("_", " ")
    return [
        _rule_enough_groups(counted, groups, thresholds.min_critical_groups),
        _rule_minimum(labels.metric_label("critical_sensitivity"), sensitivity, thresholds.min_critical_sensitivity),
    ]


def _rule_all_classes_tested(unmeasured: Sequence[str]) -> Rule:
    said = f"no test image of {', '.join(unmeasured)}" if unmeasured else "every class has test images"
    return Rule("every class measured", not unmeasured, said.replace("_", " "))


def _rule_enough_groups(what: str, count: int, floor: int) -> Rule:
    return Rule(f"enough {what}", count >= floor, f"{count} {what}, at least {floor} required")


def _rule_minimum(figure: str, estimate: Estimate, floor: float) -> Rule:
    passed = estimate.value >= floor
    return Rule(f"{figure} floor", passed, f"{estimate:.3f}, at least {floor:.3f} required")


def _marked(rule: Rule, few: Mapping[str, int]) -> Rule:
    """The rule, which says on which classes it rests with few groups."""
    listed = ", ".join(f"{count} of {name.replace('_', ' ')}" for name, count in few.items())
    return replace(rule, says=f"{rule.says}; uncertain, for it rests on few groups: {listed}") if few else rule


def _rule_maximum(figure: str, estimate: Estimate, ceiling: float) -> Rule:
    passed = estimate.value <= ceiling
    return Rule(f"{figure} ceiling", passed, f"{estimate:.3f}, at most {ceiling:.3f} allowed")


def _rules_shifts(shifts: dict[str, ShiftResult], limits: dict[str, float]) -> list[Rule]:
    others = [name for name in limits if name != SQUARE_CROP]
    named = (("robust to shifts", others), ("robust to a square crop", [SQUARE_CROP]))
    return [_rule_shift_group(rule, names, shifts, limits[names[0]]) for rule, names in named]


def _rule_shift_group(rule: str, names: list[str], shifts: dict[str, ShiftResult], limit: float) -> Rule:
    missing = [name.replace("_", " ") for name in names if name not in shifts]
    if missing:
        return Rule(rule, False, f"not measured under {', '.join(missing)} {REEVALUATE_HINT}")
    return _drop_rule(rule, {f"under {name.replace('_', ' ')}": shifts[name] for name in names}, limit)


def _rule_collections(collections: dict[str, CollectionResult] | None, limit: float) -> Rule:
    rule = "carries to other collections"
    if collections is None:
        return Rule(rule, False, f"not measured on collections left out of training {REEVALUATE_HINT}")
    if not collections:
        return Rule(rule, True, "nothing to measure: the images do not come from several collections that share two classes")
    return _drop_rule(rule, {f"on {name} left out": row for name, row in collections.items()}, limit)


def _rules_subgroups(evaluation: Evaluation, limit: float | None) -> list[Rule]:
    """The rule on the gap between all test images and the worst subgroup, in balanced accuracy; none without a limit."""
    from components.evaluation.subgroups import worst_subgroup

    name, worst = "as good on every subgroup", worst_subgroup(evaluation.subgroups)
    if limit is None:
        return []
    if "subgroups" not in evaluation.model_fields_set:
        return [Rule(name, False, f"not measured on subgroups {REEVALUATE_HINT}")]
    if worst is None:
        return [Rule(name, True, "nothing to measure: no subgroup of the test images has enough groups")]
    overall = evaluation.test.balanced_accuracy.value
    gap = overall - worst.balanced_accuracy.value
    said = f"balanced accuracy {worst.balanced_accuracy:.3f} on the worst subgroup, {worst.name}: {gap:.3f} below all test images"
    return [Rule(name, gap <= limit, f"{said}; at most {limit:.3f} allowed")]


def _rules_clinic(evaluation: Evaluation, thresholds: Register) -> list[Rule]:
    """The rules on triage, prediction sets and repeatability; none for a threshold that is null."""
    coverage = evaluation.prediction_sets.coverage if evaluation.prediction_sets else None
    rules = []
    if thresholds.min_triage_sensitivity is not None and evaluation.label_set.separates_malignant:
        rules.append(_measured(_rule_minimum, "triage sensitivity", evaluation.triage_sensitivity, thresholds.min_triage_sensitivity))
    if thresholds.min_set_coverage is not None:
        rules.append(_measured(_rule_minimum, "prediction set coverage", coverage, thresholds.min_set_coverage))
    if thresholds.max_changed_diagnoses is not None:
        rules.append(_measured(_rule_maximum, "changed diagnoses", evaluation.changed_diagnosis, thresholds.max_changed_diagnoses))
    return rules


def _measured(rule: Callable[[str, Estimate, float], Rule], figure: str, estimate: Estimate | None, threshold: float) -> Rule:
    """The rule on a figure, which fails if the figure was not measured."""
    if estimate is None:
        return Rule(figure, False, f"not measured {REEVALUATE_HINT}")
    return rule(figure, estimate, threshold)


def _drop_rule(rule: str, costs: Mapping[str, ShiftResult] | Mapping[str, CollectionResult], limit: float) -> Rule:
    too_large = [where for where in costs if costs[where].drop.value > limit]
    drops = ", ".join(f"{costs[where].drop:+.3f} {where}" for where in too_large or [worst_shift(costs)])
    return Rule(rule, not too_large, f"balanced accuracy lost: {drops}; at most {limit:.3f} allowed")


def _rules_export_agreement(export: ExportReport) -> list[Rule]:
    """Whether stage `export` wrote the files in float32, that of a server included, and in float16: it does only if they agree with
    Keras."""
    rows = {"float32": export.float32, "float16": export.float16, "server": export.server}
    return [_rule_export_written(precision, row) for precision, row in rows.items()]


def _rule_export_written(precision: str, row: ExportedModel | None) -> Rule:
    name = f"{precision} export agrees"
    if row is None:
        return Rule(name, False, f"{precision} TFLite was not measured {REEVALUATE_HINT}")
    agreement = f"the same class as Keras for {row.same_top1:.3f} of test images"
    said = f"{precision} TFLite predicts {agreement}, with probabilities that differ by at most {row.largest_probability_difference:.1e}"
    return Rule(name, row.written, said if row.written else row.reason or said)


def _rule_against_version(comparison: Comparison, margin: float) -> Rule:
    """The loss must be surely below the margin: the whole interval of the difference lies above minus the margin.

    So a test set too small to show that fails the challenger, and small losses cannot add up from one champion to the next: the
    best version stays the measure.
    """
    figure, difference = comparison.figure, comparison.difference
    passed = difference.low > -margin
    rival = "best" if comparison.best else "champion"
    again = ", measured again on these images" if comparison.measured_again else ""
    said = f"{figure} {difference:+.3f} against {'the best' if comparison.best else 'champion'} version {comparison.version}"
    why = f"the whole interval must be above {-margin:+.3f}"
    if not passed and difference.value > -margin:
        why += ": the test images are too few, or the versions too different, to rule out a larger loss"
    return Rule(f"{figure} kept against the {rival}", passed, f"{said}{again}; {why}")


def passed(rules: Sequence[Rule]) -> bool:
    """Whether every rule passed."""
    return all(rule.passed for rule in rules)


def verdict(rules: Sequence[Rule]) -> str:
    """The verdict in a line: passed, or failed and the rules that did."""
    return "passed" if passed(rules) else f"failed: {', '.join(rule.name for rule in rules if not rule.passed)}"
