"""Describes in lines what adding a source makes of the present dataset."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from app.console import first_few
from app.data.addition import Addition
from app.data.plan_lines import NO_CLASS
from components.core.paths import DATA
from components.data_quality.label_definitions import LabelDefinition


def addition_lines(addition: Addition, definitions: Mapping[str, LabelDefinition]) -> Iterator[str]:
    """Describe which images are there already, which are renamed, and the whole dataset: counts by diagnosis with its class."""
    there = [f"{PurePosixPath(member).name} as {path}" for member, path in addition.there.items()]
    if there:
        yield f"already in {DATA}/ and not added again: {len(there)} ({first_few(there)})"
    if renamed := [f"{planned} as {target}" for planned, target in addition.renamed]:
        yield f"renamed, since {DATA}/ has another file of that name: {len(renamed)} ({first_few(renamed)})"
    if not addition.targets:
        return
    label_set, image_type = addition.description.label_set, addition.description.image_type
    definition = None if label_set is None else definitions[label_set]
    fit = "no label set has a class for all images" if definition is None else f"label set {definition.name} has a class for all images"
    yield f"the dataset with them: {addition.counts.total()} images, image type {image_type}, {fit}"
    yield from _counts(addition, definition)


def _counts(addition: Addition, definition: LabelDefinition | None) -> Iterator[str]:
    present = Counter(levels for levels in addition.present.levels.values() if levels)
    rows: dict[tuple[str, str], Counter[str]] = {}
    for levels, count in addition.counts.items():
        key = levels[0], (definition and definition.class_of_levels(levels)) or NO_CLASS
        rows.setdefault(key, Counter()).update({"all": count, "present": present[levels]})
    widths = [max([len(title), *(len(key[column]) for key in rows)]) for column, title in enumerate(("diagnosis", "class"))]
    yield f"  {'diagnosis':<{widths[0]}}  {'class':<{widths[1]}}  present   added  images"
    for (diagnosis, name), found in sorted(rows.items()):
        added = found["all"] - found["present"]
        yield f"  {diagnosis:<{widths[0]}}  {name:<{widths[1]}}  {found['present']:>7}  {added:>6}  {found['all']:>6}"
