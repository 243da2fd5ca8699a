"""Rows about the images: where they come from, which were left out, how they were labeled, and whom they show."""

from collections.abc import Mapping
from typing import Any

from components.core.catalog import SPLIT_NAMES
from components.core.reports.cohort import Cohort, Source, Values
from components.data_quality.findings import KINDS
from components.data_quality.policy import DROPPED_BY_REVIEWER
from components.registry.card.entries import (
    OLDER,
    Contents,
    counted,
    counts,
    given,
    listed,
    named,
    not_measured,
    not_recorded,
    stated,
    table,
)
from components.registry.card.model import Cell, Entry, FlowStep, Table
from components.registry.card.sources import Sources

NOT_DESCRIBED = "the dataset has no dataset.yaml"
HISTOLOGY = "histo"
"""Part of every name of a confirmation by histology."""
ATTRIBUTE_LABELS = {"age": "Age", "sex": "Sex", "site": "Part of the body", "skin_type": "Skin type (Fitzpatrick)"}


def image_sources(sources: Sources) -> Contents:
    """Sources, collections, licenses, devices and dates."""
    cohort, statements = sources.cohort, sources.statements
    named_devices = {"devices": ("Cameras and dermoscopes", statements.devices), "dates": ("Dates", statements.dates)}
    of_person = {
        key: stated(label, text) if text else not_recorded(label, cohort.usable if cohort else None)
        for key, (label, text) in named_devices.items()
    }
    if cohort is None:
        labels = {"sources": "Sources", "collections": "Collections", "licenses": "Licenses", "attribution": "Attribution"}
        return Contents({**_older(labels), **of_person})
    described = "; ".join(_source(source) for source in cohort.sources or ())
    attribution = given("Attribution", cohort.attribution) if cohort.attribution else not_recorded("Attribution", cohort.usable)
    return Contents(
        {
            "sources": given("Sources", described) if described else not_recorded("Sources", cohort.usable),
            "collections": counted("Collections", _frequent_first(cohort.collections)),
            "licenses": counted("Licenses", _frequent_first(cohort.licenses)),
            "attribution": attribution,
            **of_person,
        }
    )


def _frequent_first(values: Values) -> Values:
    return values.model_copy(update={"known": dict(sorted(values.known.items(), key=lambda item: (-item[1], item[0])))})


def _source(source: Source) -> str:
    return f"{source.source or 'not named'} ({source.image_type or 'type not named'}, form {source.form or 'not named'})"


def _older(labels: dict[str, str]) -> dict[str, Entry]:
    return {key: not_measured(label, OLDER) for key, label in labels.items()}


def exclusions(sources: Sources) -> Contents:
    """The flow from the files to the splits, with counts by reason."""
    cohort = sources.cohort
    of_import = {"left_out_by_import": not_recorded("Files that the import left out", cohort.files if cohort else None)}
    if cohort is None:
        return Contents({**of_import, **_older({"files": "Files", "usable": "Images used"})})
    left_out = cohort.files - cohort.usable
    entries = {
        **of_import,
        "files": given("Files in the dataset", str(cohort.files)),
        "left_out": given("Files left out", f"{left_out} of {cohort.files}"),
        "usable": given("Images used", str(cohort.usable)),
    }
    flow = flow_steps(cohort)
    rows = [(step.name, step.files, counts(step.left_out) or "none") for step in flow]
    reasons = [(named(kind), KINDS.get(kind, "by a reviewer's decision"), number) for kind, number in cohort.excluded.items()]
    tables = {"flow": table("From file to split", ("step", "files", "left out before it, by reason"), rows)}
    if reasons:
        tables["reasons"] = table("Reasons", ("reason", "meaning", "files"), reasons)
    return Contents(entries, tables, flow)


def flow_steps(cohort: Cohort) -> list[FlowStep]:
    """From the files of the dataset to the splits."""
    unreadable = cohort.files - cohort.readable
    others = {named(kind): number for kind, number in cohort.excluded.items() if kind not in ("unreadable", DROPPED_BY_REVIEWER)}
    dropped = cohort.files - cohort.usable - unreadable - sum(others.values())
    if dropped:
        others["dropped by a reviewer"] = dropped
    return [
        FlowStep(name="files in the dataset", files=cohort.files),
        FlowStep(name="readable images", files=cohort.readable, left_out={"unreadable": unreadable} if unreadable else {}, after=0),
        FlowStep(name="images used", files=cohort.usable, left_out=others, after=1),
        *(FlowStep(name=f"in {name}", files=cohort.splits[name].images, after=2) for name in SPLIT_NAMES),
    ]


def reference_standard(sources: Sources) -> Contents:
    """How the diagnosis of each class was confirmed."""
    cohort, malignant = sources.cohort, sources.labels.malignant
    if cohort is None:
        return Contents(_older({"confirmation": "How diagnoses were confirmed", "malignant_by_histology": "Malignant by histology"}))
    by_class = {name: cohort.reference_standard.get(name, Values(known={}, unknown=0)) for name in sources.labels.outputs}
    known = sum(sum(values.known.values()) for values in by_class.values())
    images = sum(values.images for values in by_class.values())
    of_malignant = [by_class[name] for name in malignant]
    confirmed = sum(number for values in of_malignant for way, number in values.known.items() if HISTOLOGY in way)
    label = "Malignant images confirmed by histology"
    if not malignant:
        histology = not_measured(label, "the label set names no malignant class")
    elif not any(values.known for values in of_malignant):
        histology = not_recorded(label, sum(values.images for values in of_malignant))
    else:
        histology = given(label, f"{confirmed} of {sum(values.images for values in of_malignant)}")
    confirmation = "How diagnoses were confirmed"
    entries = {
        "confirmation": given(confirmation, f"known of {known} of {images} images") if known else not_recorded(confirmation, images),
        "malignant_by_histology": histology,
    }
    return Contents(entries, {"by_class": _confirmation_table(by_class)})


def _confirmation_table(by_class: dict[str, Values]) -> Table:
    ways = sorted({way for values in by_class.values() for way in values.known})
    rows: list[tuple[Cell, ...]] = [
        (named(name), *(values.known.get(way, 0) for way in ways), values.unknown) for name, values in by_class.items()
    ]
    return table("Images of each class by confirmation of the diagnosis", ("class", *ways, "not known"), rows)


def malignancy_definition(sources: Sources) -> Contents:
    """Which outputs count as malignant."""
    labels = sources.labels
    malignant = listed(labels.malignant) or "none, so no figure tells malignant from benign"
    return Contents(
        {
            "label_set": given("Label set", labels.name),
            "malignant": given("Counted as malignant", malignant),
            "benign": given("Counted as benign", listed(name for name in labels.outputs if name not in labels.malignant) or "none"),
            "critical": given("Critical class", named(labels.critical) if labels.critical else "none, so no sensitivity is guarded"),
        }
    )


def population(sources: Sources) -> Contents:
    """Age, sex, site and skin type of each split, with the number of images that tell nothing."""
    cohort = sources.cohort
    if cohort is None:
        return Contents(_older(ATTRIBUTE_LABELS | {"patients": "Images whose patient is known"}))
    by_attribute = {name: cohort.attribute_in(name) for name in ATTRIBUTE_LABELS}
    entries = {name: counted(label, _all_splits(list(by_attribute[name].values()))) for name, label in ATTRIBUTE_LABELS.items()}
    patients = "Images whose patient is known"
    known = f"{cohort.patients_known} of {cohort.usable}"
    entries["patients"] = given(patients, known) if cohort.patients_known else not_recorded(patients, cohort.usable)
    rows: list[tuple[Cell, ...]] = [
        (
            ATTRIBUTE_LABELS[name],
            value,
            *(values.unknown if value == "not known" else values.known.get(value, 0) for values in splits.values()),
        )
        for name, splits in by_attribute.items()
        for value in [*sorted({known for values in splits.values() for known in values.known}), "not known"]
    ]
    return Contents(entries, {"by_split": table("Images by split", ("", "value", *SPLIT_NAMES), rows)})


def _all_splits(values: list[Values]) -> Values:
    names = sorted({name for part in values for name in part.known})
    known = {name: sum(part.known.get(name, 0) for part in values) for name in names}
    return Values(known=known, unknown=sum(part.unknown for part in values))


def classes(sources: Sources) -> Contents:
    """What the version can name, and what it never names."""
    cohort, outputs = sources.cohort, sources.labels.outputs
    entries = {
        "outputs": given("Outputs", listed(outputs)),
        "never_named": given("Never named", "every other disease: an image of it gets one of the outputs, or no answer"),
    }
    labels = {"without_images": "Classes of the label set without images", "too_small": "Classes left out for lack of images"}
    labels["without_class"] = "Diagnoses in the dataset without a class"
    if cohort is None:
        return Contents({**entries, **_older(labels)})
    without = not_recorded(labels["without_images"], None) if cohort.missing_classes is None else None
    entries["without_images"] = without or given(labels["without_images"], listed(cohort.missing_classes or ()) or "none")
    entries["too_small"] = given(labels["too_small"], counts(_readable(cohort.excluded_classes)) or "none")
    entries["without_class"] = given(labels["without_class"], counts(_readable(cohort.not_in_label_set)) or "none")
    rows: list[tuple[Cell, ...]] = [
        (named(name), *(cohort.splits[part].images_per_class.get(name, 0) for part in SPLIT_NAMES)) for name in outputs
    ]
    return Contents(entries, {"images": table("Images of each class", ("class", *SPLIT_NAMES), rows)})


def _readable(numbers: dict[str, int]) -> dict[str, int]:
    return {named(name): number for name, number in numbers.items()}


def split(sources: Sources) -> Contents:
    """The unit of the split, what is kept together, and what the test images were used for."""
    cohort = sources.cohort
    entries = {
        "unit": given("Unit", "all images of a patient or, where patients are not known, of a lesion are in one split"),
        "copies": _copies(sources.background.params.get("validate")),
        "use_of_test": given(
            "Use of the test images", "for figures, and to compare versions: phase, temperature and all thresholds are chosen on validation"
        ),
        "test_split_hash": given("Test split (sha256)", sources.evaluation.test_split_hash),
        "external_test": not_measured("Images of a hospital that gave none for training"),
    }
    if cohort is None:
        return Contents({**entries, **_older({"counts": "Images, lesions and patients"})})
    columns = ("split", "images", "groups", "lesions", "patients")
    parts = {name: cohort.splits[name] for name in SPLIT_NAMES}
    rows = [(name, part.images, part.groups, part.lesions, part.patients) for name, part in parts.items()]
    entries["counts"] = given("Images", counts({name: part.images for name, part in parts.items()}))
    return Contents(entries, {"counts": table("Images, lesions and patients", columns, rows)})


def _copies(validate: Mapping[str, Any] | None) -> Entry:
    """What the policy of the version did about copies of an image."""
    if validate is None:
        return not_measured("Copies", OLDER)
    actions = {kind: validate["policy"][kind]["action"] for kind in ("exact_duplicate", "near_duplicate")}
    meaning = {
        "keep one": "used once",
        "group": "kept in one split",
        "quarantine": "left out",
        "fail": "left out",
        "warn": "used as they are",
    }
    return given("Copies", "; ".join(f"{named(kind)}s: {meaning.get(action, action)}" for kind, action in actions.items()))
