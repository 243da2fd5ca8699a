"""Describes the plan of an import in lines for the terminal."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from app.console import first_few
from app.data.conversion import JPEG, PNG, RENAMED, converted_format
from app.data.folders import knows
from app.data.members import parts_of
from app.data.plan import ImportPlan
from components.data_quality.label_definitions import LabelDefinition

FOLDERS = 8
"""Folders that a line counts."""
NO_CLASS = "-"


def plan_lines(plan: ImportPlan, definitions: Mapping[str, LabelDefinition]) -> Iterator[str]:
    """Describe the plan: form, counts by diagnosis with the class of the label set, metadata, and what is left out."""
    form = plan.recognised.form
    yield f"form: {form.name} ({form.title}): {plan.recognised.reason}"
    yield f"images: {plan.images}, image type {plan.image_type}"
    yield from _formats(plan.targets)
    definition = definitions[plan.label_set] if plan.label_set is not None else None
    yield from _label_set(plan, definition)
    yield from _diagnoses(plan, definition)
    if definition is not None:
        present = {definition.class_of_levels(levels) for levels in plan.diagnoses}
        if absent := [name for name in definition.classes if name not in present]:
            yield f"classes of {definition.name} that the dataset does not have: {', '.join(absent)}"
    known = knows(definitions.values())
    unknown: Counter[str] = Counter()
    for levels, count in plan.diagnoses.items():
        if not any(known(level) for level in levels):
            unknown[levels[0]] += count
    if unknown:
        yield f"known to no label set: {', '.join(f'{name} {count}' for name, count in unknown.most_common())}"
    yield from plan.notes
    yield from _metadata(plan)
    yield from _left_out(plan.left_out)


def _label_set(plan: ImportPlan, definition: LabelDefinition | None) -> Iterator[str]:
    if definition is None:
        yield "label set: none has a class for most images. Define one in labels/, see docs/how-to/import-a-dataset.md"
        return
    placed = sum(count for levels, count in plan.diagnoses.items() if definition.class_of_levels(levels))
    others = [name for name in plan.fitting if name != definition.name]
    also = f"; {', '.join(others)} would fit all images" if others else ""
    yield f"label set: {definition.name} has a class for {placed} of {plan.images} images{also}"


def _formats(targets: Mapping[str, str]) -> Iterator[str]:
    """How many files change their format or suffix."""
    formats = [(converted_format(name, target), PurePosixPath(target).suffix) for name, target in targets.items()]
    if converted := _counted(name for name, _ in formats if name != "DICOM"):
        yield f"converted to PNG without loss: {converted}"
    if dicom := Counter(suffix for name, suffix in formats if name == "DICOM"):
        yield f"DICOM: {dicom[JPEG]} are stored as the JPEG that they hold, {dicom[PNG]} are converted to PNG"
    suffixes = (PurePosixPath(name).suffix.lower() for name, target in targets.items() if not target.endswith(parts_of(name)[-1]))
    if renamed := _counted(RENAMED.get(suffix) for suffix in suffixes):
        yield f"renamed to .jpg: {renamed}"


def _counted(values: Iterable[str | None]) -> str:
    counts = Counter(value for value in values if value is not None)
    return ", ".join(f"{value} {count}" for value, count in sorted(counts.items()))


def _diagnoses(plan: ImportPlan, definition: LabelDefinition | None) -> Iterator[str]:
    rows: Counter[tuple[str, str]] = Counter()
    for levels, count in plan.diagnoses.items():
        rows[levels[0], (definition and definition.class_of_levels(levels)) or NO_CLASS] += count
    widths = [max([len(title), *(len(row[column]) for row in rows)]) for column, title in enumerate(("diagnosis", "class"))]
    yield f"  {'diagnosis':<{widths[0]}}  {'class':<{widths[1]}}  images"
    for (diagnosis, name), count in sorted(rows.items()):
        yield f"  {diagnosis:<{widths[0]}}  {name:<{widths[1]}}  {count:>6}"


def _metadata(plan: ImportPlan) -> Iterator[str]:
    if plan.metadata is None:
        yield "metadata: none"
        return
    counts = {column: int(plan.metadata[column].notna().sum()) for column in plan.metadata if column != "filename"}
    yield f"metadata: {', '.join(f'{column} {count}' for column, count in counts.items())} of {plan.images} images"
    if {"lesion_id", "patient_id"} & {*counts}:
        yield f"namespace of lesions and patients, but for those of the ISIC Archive: {plan.namespace} (--source names another)"


def _left_out(left_out: Mapping[str, Sequence[str]]) -> Iterator[str]:
    total = sum(map(len, left_out.values()))
    if not total:
        return
    yield f"left out: {total} {'file' if total == 1 else 'files'}"
    for reason, names in left_out.items():
        folders = Counter("/".join(parts_of(name)[:-1]) or "." for name in names)
        counted = ", ".join(f"{folder} {count}" for folder, count in folders.most_common(FOLDERS))
        first = first_few([parts_of(name)[-1] for name in names])
        yield f"  {reason}: {len(names)} ({first}); by folder: {counted}{', ...' if len(folders) > FOLDERS else ''}"
