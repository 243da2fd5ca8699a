"""Rows about accuracy on the test images: for each class and operating point, and what follows at other prevalences."""

from collections.abc import Mapping

from components.core.reports.clinic import AtPrevalence, OperatingPoint, ProbabilityCalibration
from components.core.reports.evaluation import Evaluation, SubgroupResult
from components.evaluation.subgroups import dimensions_left_out, named_subgroups, subgroup_name, worst_subgroup
from components.registry.card.entries import OLDER, Contents, counts, given, measured, named, not_measured, not_recorded, table
from components.registry.card.model import Cell, Entry, Table
from components.registry.card.sources import Sources

NO_MALIGNANT = "the label set does not tell malignant from benign"
NO_CRITICAL = "the label set has no critical class"
TEST_FIGURES = {
    **dict.fromkeys(("balanced_accuracy", "accuracy", "macro_f1", "macro_auc"), ""),
    "critical_sensitivity": NO_CRITICAL,
    "malignant_sensitivity": NO_MALIGNANT,
    "malignant_specificity": NO_MALIGNANT,
}
"""Figures of reports/evaluation.json, each with the reason for which it can be missing."""
RANKING_FIGURES = {"malignant_auc": NO_MALIGNANT, "malignant_partial_auc": NO_MALIGNANT, "critical_auc": NO_CRITICAL}
"""The same of reports/clinic.json."""


def accuracy(sources: Sources) -> Contents:
    """The figures on test, those of each class, and the counts at each operating point."""
    evaluation, clinic, label = sources.evaluation, sources.clinic, sources.labels.metric_label
    test = evaluation.test
    entries = {"test_images": given("Test images", f"{test.images} of {test.groups} groups; intervals of 95 % resample groups")}
    entries |= {
        name: measured(_capital(label(name)).replace(" f1", " F1").replace(" auc", " AUC"), getattr(test, name), reason)
        for name, reason in TEST_FIGURES.items()
    }
    discrimination = clinic.discrimination if clinic else None
    for name, reason in RANKING_FIGURES.items():
        figure = getattr(discrimination, name, None)
        entries[name] = measured(_capital(label(name)).replace("auc", "AUC"), figure, reason if clinic else OLDER)
    entries["few_images"] = given("Classes with fewer than 10 test groups", counts(_named(evaluation.few_groups)) or "none")
    points = clinic.operating_points if clinic else {}
    return Contents(entries, {"classes": _class_table(evaluation), **_point_tables(points)})


def _class_table(evaluation: Evaluation) -> Table:
    columns = ("class", "images", "recall", "recall from", "recall to", "precision", "F1", "specificity", "AUC")
    rows: list[tuple[Cell, ...]] = [
        (named(name), row.images, row.recall, row.recall_low, row.recall_high, row.precision, row.f1, row.specificity, row.roc_auc)
        for name, row in evaluation.per_class.items()
    ]
    return table("Each class", columns, rows)


def _point_tables(points: Mapping[str, OperatingPoint]) -> dict[str, Table]:
    if not points:
        return {}
    counted = ("true_positives", "false_negatives", "false_positives", "true_negatives")
    rows: list[tuple[Cell, ...]] = [
        (named(name), point.sensitivity, point.specificity, point.flagged, *(getattr(point, count) for count in counted))
        for name, point in points.items()
    ]
    by_class: list[tuple[Cell, ...]] = [
        (named(name), named(diagnosis), figure)
        for name, point in points.items()
        for diagnosis, figure in point.sensitivity_by_class.items()
    ]
    columns = ("operating point", "sensitivity", "specificity", "flagged", *map(named, counted))
    return {
        "operating_points": table("Malignant against benign at each operating point", columns, rows),
        "sensitivity_by_class": table("Sensitivity for each malignant class", ("operating point", "class", "sensitivity"), by_class),
    }


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _named(numbers: dict[str, int]) -> dict[str, int]:
    return {named(name): number for name, number in numbers.items()}


def _missing(sources: Sources) -> str:
    return OLDER if sources.clinic is None else NO_MALIGNANT


def predictive_values(sources: Sources) -> Contents:
    """What a flag means at several shares of malignant images."""
    clinic = sources.clinic
    label, share = "Predictive values", "Malignant share of the test images"
    prevalence = given(share, f"{clinic.malignant_share:.0%}") if clinic and clinic.malignant_share is not None else None
    entries = {"malignant_share": prevalence or not_measured(share, _missing(sources))}
    if not (clinic and clinic.operating_points):
        return Contents({**entries, "predictive_values": not_measured(label, _missing(sources))})
    columns = ("operating point", "malignant share", "PPV", "NPV", "flagged of 1,000", "benign flagged per cancer found")
    rows = [
        (named(name), _prevalence(key, value), value.ppv, value.npv, round(value.flagged_per_1000.value), value.benign_flagged_per_cancer)
        for name, point in clinic.operating_points.items()
        for key, value in point.at_prevalence.items()
    ]
    entries["predictive_values"] = given(label, "below, from sensitivity and specificity on test; read NPV together with PPV")
    return Contents(entries, {"predictive_values": table("At several shares of malignant images", columns, rows)})


def _prevalence(key: str, value: AtPrevalence) -> str:
    return f"{value.prevalence:.0%}{' (that of test)' if key == 'dataset' else ''}"


def calibration(sources: Sources) -> Contents:
    """Whether probabilities are right."""
    clinic, test = sources.clinic, sources.evaluation.test
    entries = {
        "calibration_error": measured("Expected calibration error of the likeliest class", test.calibration_error),
        "calibration_error_before": measured("The same before temperature scaling", test.calibration_error_before),
    }
    tables = {}
    for name, reason in (("malignant", NO_MALIGNANT), ("critical", NO_CRITICAL)):
        result = clinic.calibration.get(name) if clinic else None
        entries |= _calibration_entries(name, result, OLDER if clinic is None else reason)
        if result is not None and result.curve:
            rows = [(bin_.images, bin_.probability, bin_.observed) for bin_ in result.curve]
            columns = ("images", "mean probability", "share observed")
            tables[name] = table(f"Calibration curve of the {name} probability", columns, rows)
    return Contents(entries, tables)


def _calibration_entries(name: str, result: ProbabilityCalibration | None, reason: str) -> dict[str, Entry]:
    labels = {"slope": "slope (1 if calibrated)", "intercept": "intercept (0 if calibrated)"}
    labels |= {"in_the_large": "calibration in the large (0 if calibrated)", "brier": "Brier score"}
    why = reason if result is None else "it is not defined on these images"
    return {
        f"{name}_{figure}": measured(f"{_capital(name)} probability: {label}", getattr(result, figure, None), why)
        for figure, label in labels.items()
    }


def net_benefit(sources: Sources) -> Contents:
    """The decision curve."""
    result = sources.clinic.net_benefit if sources.clinic else None
    label = "Net benefit"
    if result is None:
        return Contents({"net_benefit": not_measured(label, _missing(sources))})
    rows = [(point.threshold, point.model, point.refer_all, point.refer_none) for point in result.points[::3]]
    text = f"per lesion, where {result.prevalence:.0%} of the lesions are malignant; it is no reason to choose a threshold"
    columns = ("threshold", "of the model", "of referring all", "of referring none")
    return Contents({"net_benefit": given(label, text)}, {"net_benefit": table("Decision curve", columns, rows)})


def subgroups(sources: Sources) -> Contents:
    """The figures of each subgroup, the worst one, and of how many images the subgroup is not known."""
    found = sources.evaluation.subgroups
    worst, label = worst_subgroup(found), "Worst subgroup by balanced accuracy"
    entries = {
        "worst": given(label, f"{worst.name}: {worst.balanced_accuracy:.3f}", worst.balanced_accuracy)
        if worst
        else not_measured(label, "no subgroup has enough groups on test")
    }
    entries |= {name.replace(" ", "_"): _without_subgroups(sources, name) for name in dimensions_left_out(found)}
    columns = (
        "subgroup",
        "images",
        "groups",
        "balanced accuracy",
        "critical sensitivity",
        "malignant sensitivity",
        "malignant specificity",
    )
    rows = [
        (subgroup_name(dimension, value), result.images, result.groups, *_subgroup_figures(result))
        for dimension, value, result in named_subgroups(found)
    ]
    attributes = sources.cohort.splits["test"].attributes if sources.cohort else {}
    unknown = [(named(name), values.unknown, values.images) for name, values in attributes.items()]
    tables = {"subgroups": table("Subgroups of the test images", columns, rows)} if rows else {}
    if unknown:
        tables["not_known"] = table("Test images whose subgroup is not known", ("attribute", "not known", "of"), unknown)
    return Contents(entries, tables)


def _without_subgroups(sources: Sources, dimension: str) -> Entry:
    attributes = sources.cohort.splits["test"].attributes if sources.cohort else {}
    values = attributes.get(dimension.replace(" ", "_"))
    if values is not None and not values.known:
        return not_recorded(_capital(dimension), values.images)
    return not_measured(_capital(dimension), "the test images have fewer than two known values of it")


def _subgroup_figures(result: SubgroupResult) -> tuple[Cell, ...]:
    return (result.balanced_accuracy, result.critical_sensitivity, result.malignant_sensitivity, result.malignant_specificity)
