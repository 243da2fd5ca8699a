"""Rows about what the test figures do not cover: other images, repeated images, uncertainty and errors."""

from components.core.reports.clinic import Views
from components.core.reports.evaluation import Abstention, Evaluation
from components.core.reports.index import IndexReport
from components.registry.card.entries import OLDER, Contents, counts, given, listed, measured, named, not_measured, stated, table
from components.registry.card.model import Entry, Table
from components.registry.card.sources import Sources

NO_SETS = "the version gives no prediction sets"
NEVER_ABSTAINS = "the version always answers"
NO_INDEX = "the version holds no index of training images"


def robustness(sources: Sources) -> Contents:
    """Simulated shifts, collections left out of training, and repeated images."""
    evaluation, clinic, index = sources.evaluation, sources.clinic, sources.index
    shifts, collections = evaluation.shifts, evaluation.collections_left_out
    worst = max(shifts, key=lambda name: shifts[name].drop.value, default=None)
    label, left_out = "Largest drop of balanced accuracy under a simulated shift", "Collections left out of training"
    entries = {
        "worst_shift": given(label, f"{named(worst)}: {shifts[worst].drop:.3f}", shifts[worst].drop)
        if worst
        else not_measured(label, OLDER),
        "collections_left_out": given(left_out, ", ".join(collections))
        if collections
        else not_measured(left_out, OLDER if collections is None else "the training images have fewer than two collections"),
        "external": not_measured("Images of a hospital that gave none for training"),
        **_repeatability(clinic.views if clinic else None),
        "photographed_again": not_measured("Same lesion, photographed again"),
        "not_lesions": measured("Images without a lesion that it detects", index.detected if index else None, NO_INDEX),
    }
    views = clinic.views if clinic else None
    return Contents(entries, {**_shift_tables(evaluation), **_repeatability_table(views), **_non_lesion_table(index)})


def _shift_tables(evaluation: Evaluation) -> dict[str, Table]:
    shifts = [(named(name), row.balanced_accuracy, row.drop) for name, row in evaluation.shifts.items()]
    collections = [(name, row.images, row.balanced_accuracy, row.drop) for name, row in (evaluation.collections_left_out or {}).items()]
    columns = ("collection", "test images", "balanced accuracy without it", "drop")
    found = {
        "shifts": table("Simulated shifts of the test images", ("shift", "balanced accuracy", "drop"), shifts),
        "collections": table("Collections left out of training (head on frozen features)", columns, collections),
    }
    return {name: content for name, content in found.items() if content.rows}


def _repeatability_table(views: Views | None) -> dict[str, Table]:
    if views is None:
        return {}
    columns = ("change", "more than one diagnosis", "crosses triage", "limit of agreement of the malignant probability")
    rows = [(named(name), row.changed_diagnosis, row.crosses_triage, row.limit_of_agreement) for name, row in views.repeatability.items()]
    return {"repeatability": table("The same test images, changed", columns, rows)}


def _non_lesion_table(index: IndexReport | None) -> dict[str, Table]:
    if index is None:
        return {}
    rows = [(named(kind), row.pictures, row.detected, row.answered) for kind, row in index.non_lesions.items()]
    columns = ("made picture", "pictures", "share detected", "given a diagnosis")
    return {"not_lesions": table("Pictures that show no lesion", columns, rows)}


def _repeatability(views: Views | None) -> dict[str, Entry]:
    label, averaged = "Images with more than one diagnosis, by the worst change", "Probabilities are the mean of"
    if views is None:
        return {"repeatability": not_measured(label, OLDER), "views": not_measured(averaged, OLDER)}
    worst = max(views.repeatability, key=lambda name: views.repeatability[name].changed_diagnosis.value)
    figure = views.repeatability[worst].changed_diagnosis
    count = "1 view" if views.count == 1 else f"{views.count} views, turned and mirrored, chosen on validation"
    return {"repeatability": given(label, f"{named(worst)}: {figure:.3f}", figure), "views": given(averaged, count)}


def uncertainty(sources: Sources) -> Contents:
    """Prediction sets, abstention, and which classes it concerns."""
    sets, abstention, clinic = sources.evaluation.prediction_sets, sources.evaluation.abstention, sources.clinic
    target = f", aimed at {sets.target:.0%}" if sets else ""
    critical = NO_SETS if sets is None else "the label set has no critical class"
    malignant = NO_SETS if sets is None else "the label set does not tell malignant from benign"
    entries = {
        "coverage": measured(f"Prediction sets that contain the true class{target}", sets.coverage if sets else None, NO_SETS),
        "critical_coverage": measured("The same for the critical class", sets.critical_coverage if sets else None, critical),
        "set_size": measured("Classes in a set, on average", sets.size if sets else None, NO_SETS),
        "misleading_sets": measured(
            "Malignant images whose set has no malignant class", sets.malignant_without_malignant if sets else None, malignant
        ),
        "pooled_classes": given("Classes that share one threshold, for lack of images", listed(sets.pooled) or "none")
        if sets
        else not_measured("Classes that share one threshold, for lack of images", NO_SETS),
        **_abstention(abstention),
        **_image_reasons(sources.index),
        "claim": given("What a set claims", "it holds on images like those that it was measured on, and on no others"),
        "phone": given("On a phone", 'the reason "unlike anything in training" does not exist there, since a phone has no index'),
    }
    tables = {}
    if sets:
        rows = [(named(name), figure) for name, figure in sets.coverage_by_class.items()]
        tables["coverage"] = table("Sets that contain the true class, by class", ("class", "coverage"), rows)
    if clinic and clinic.coverage:
        points = [(point.coverage, point.threshold, point.error_rate) for point in clinic.coverage]
        columns = ("share answered", "largest probability from", "errors among them")
        tables["risk"] = table("Errors against the share of images answered", columns, points)
    return Contents(entries, tables)


def _abstention(abstention: Abstention | None) -> dict[str, Entry]:
    return {
        "abstained": measured("Share of images without an answer", abstention.share if abstention else None, NEVER_ABSTAINS),
        "abstained_classes": given(
            "Images without an answer by class", counts({named(name): number for name, number in abstention.by_class.items()}) or "none"
        )
        if abstention
        else not_measured("Images without an answer by class", NEVER_ABSTAINS),
        "accuracy_answered": measured("Accuracy where it answers", abstention.accuracy_answered if abstention else None, NEVER_ABSTAINS),
        "accuracy_abstained": measured(
            "Accuracy where it does not, had it answered",
            abstention.accuracy_abstained if abstention else None,
            "it answered every test image" if abstention else NEVER_ABSTAINS,
        ),
    }


def _image_reasons(index: IndexReport | None) -> dict[str, Entry]:
    """Test images, all of lesions, from which it abstains for what they look like."""
    alarms = index.false_alarms if index else None
    label = "Test images, of lesions, taken for "
    dermoscopic = alarms.not_dermoscopic if alarms else None
    return {
        "not_dermoscopic": measured(f"{label}something else than a dermoscopic image", dermoscopic, NO_INDEX),
        "unlike_training": measured(f"{label}unlike anything in training", alarms.unlike_training if alarms else None, NO_INDEX),
        "neighbours": measured(
            "Accuracy of the most frequent diagnosis among similar cases", index.neighbour_accuracy if index else None, NO_INDEX
        ),
    }


def failures(sources: Sources) -> Contents:
    """Where it fails most, and where errors can be seen."""
    evaluation, labels = sources.evaluation, sources.labels
    rows = {name: row for name, row in evaluation.per_class.items() if row.images}
    worst = min(rows, key=lambda name: rows[name].recall, default=None)
    label, missed = "Class that it misses most", f"Images of {named(labels.critical or 'a critical class')} that it names otherwise"
    sensitivity = evaluation.test.critical_sensitivity
    return Contents(
        {
            "worst_class": given(label, f"{named(worst)}: {1 - rows[worst].recall:.0%} of {rows[worst].images} images")
            if worst
            else not_measured(label, "the report has no figures by class"),
            "missed_critical": given(missed, f"{1 - sensitivity.value:.0%}")
            if sensitivity
            else not_measured(missed, "the label set has no critical class"),
            "examples": given(
                "Worst errors", "evaluation/mistakes.png in the version's MLflow run shows those with the highest probability"
            ),
        }
    )


def comparison(sources: Sources) -> Contents:
    """With clinicians, with another model, and with a simpler one."""
    difference = sources.evaluation.finetuned_less_frozen_on_test.balanced_accuracy
    return Contents(
        {
            "clinicians": stated("With clinicians on the same images", sources.statements.comparison_with_clinicians),
            "previous_version": given(
                "With the version that served before", "in the description of the version in MLflow, since it changes"
            ),
            "simpler_model": given("Balanced accuracy, fine-tuned less frozen", f"{difference:.3f}", difference),
        }
    )
