"""Plans an import: decides for each file of a source what it is, what it is labeled and where it goes. Nothing is written."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import pandas as pd

from app.data.archives import Member, Source
from app.data.contradictions import require_agreement
from app.data.duplicates import LESION, join_duplicates
from app.data.folders import common_folders, diagnoses_of_folders, knows
from app.data.forms.definitions import Form, ImageType, known_columns
from app.data.image_types import choose_image_type
from app.data.members import COPIES, LICENSES, MASKS, SYSTEM, SortedMembers, find_copies, sort_members
from app.data.metadata import ImageIndex, JoinedTables, join_tables, original_split
from app.data.namespaces import choose_namespace, name_lesions
from app.data.recognition import ImportOptions, Recognised, is_required, recognise
from app.data.source_headers import fill_gaps, read_source_headers
from app.data.source_tables import SourceTables, read_given_table, read_source_tables
from app.data.tables import DIAGNOSIS, FILE, LABEL, Table, image_column, name_images, select_columns
from app.data.targets import assign_targets
from components.core.errors import LesionflowError
from components.data_quality.label_definitions import LabelDefinition, finest, fitting, fold

LEVELS = ("diagnosis_5", "diagnosis_4", "diagnosis_3", "diagnosis_2", "diagnosis_1")
NO_DIAGNOSIS = "images without a diagnosis"
NO_FOLDER = ("", LICENSES)
"""Names that a folder of a diagnosis in data/ must not have."""


@dataclass(frozen=True)
class ImportPlan:
    """What an import does with a source."""

    source: str
    """Name of the folder or archive."""
    namespace: str
    """What the source's ids are named after."""
    recognised: Recognised
    image_type: ImageType
    targets: dict[str, str]
    """Path within data/ by member, for images and licenses."""
    sizes: Mapping[str, int]
    """Bytes of each member of the source."""
    metadata: pd.DataFrame | None
    attributions: list[bytes]
    levels: dict[str, tuple[str, ...]]
    """The diagnosis of each image by member: its folder in data/, then the Archive's levels."""
    label_set: str | None
    fitting: list[str]
    """Label sets in which all diagnoses have a place."""
    left_out: dict[str, list[str]]
    """Files that are not imported, by reason."""
    notes: list[str]

    @cached_property
    def diagnoses(self) -> Counter[tuple[str, ...]]:
        """Images by diagnosis."""
        return Counter(self.levels.values())

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.levels)


@dataclass(frozen=True)
class _Labels:
    """What folders and tables say about the images."""

    folders: dict[str, str]
    joined: JoinedTables
    form: Form
    known: Callable[[str], bool]

    def diagnosis(self, name: str) -> str | None:
        """The diagnosis of an image as its source writes it."""
        folder, table = self.folders.get(name), self._cell(name, DIAGNOSIS)
        if table and folder_name(table) in NO_FOLDER:
            table = None
        if not self.form.labels_images:
            return folder or table
        return table or (folder if folder and self.known(folder) and self._cell(name, LABEL) is None else None)

    def levels(self, name: str, diagnosis: str) -> tuple[str, ...]:
        """The names of an image's diagnosis, most specific first: its folder in data/, then the Archive's levels."""
        cells = (self._cell(name, level) for level in LEVELS)
        return (folder_name(diagnosis), *(cell for cell in cells if cell))

    def reason_without(self, name: str) -> str:
        """Why an image has no diagnosis."""
        label = self._cell(name, LABEL)
        return NO_DIAGNOSIS if label is None else f"images labeled {label}, which is not a diagnosis"

    def _cell(self, name: str, column: str) -> str | None:
        return self._cells.get(column, {}).get(name)

    @property
    def _cells(self) -> Mapping[str, Mapping[str, str]]:
        return self.joined.cells


@lru_cache(maxsize=2**16)
def folder_name(diagnosis: str) -> str:
    """Name of the folder in data/ for a diagnosis."""
    return fold(diagnosis).encode()[:200].decode(errors="ignore")


def make_plan(
    opened: Source, members: list[Member], definitions: Mapping[str, LabelDefinition], options: ImportOptions | None = None
) -> ImportPlan:
    """Plan the import of a source.

    Args:
        opened: the source.
        members: its files.
        definitions: the label sets of the project.
        options: what the user says about the source.

    Raises:
        LesionflowError: the source has no known form, contains no image with a diagnosis, or its tables cannot be joined or contradict
            the folders or each other.
    """
    options = options or ImportOptions()
    copies = find_copies(members)
    found = sort_members(member.name for member in members if member.name not in copies)
    if copies:
        found.left_out[COPIES] = sorted(copies)
    sizes = {member.name: member.size for member in members}
    headers = read_source_headers(opened, found.images, sizes)
    found.leave_out(headers.left_out)
    _require_images(opened, found)
    known = knows(definitions.values())
    read = _read_tables(opened, members, found, options)
    recognised = recognise(read.tables, diagnoses_of_folders(found.images, known), known, options)
    labels = _label(found, read, recognised.form, known)
    labels = replace(labels, joined=fill_gaps(labels.joined, headers.known))
    return _complete(_Draft(opened, sizes, found, headers.jpegs, read, recognised, labels), definitions, options)


@dataclass(frozen=True)
class _Draft:
    opened: Source
    sizes: Mapping[str, int]
    found: SortedMembers
    jpegs: set[str]
    """DICOM files that hold a JPEG."""
    read: SourceTables
    recognised: Recognised
    labels: _Labels


def _complete(draft: _Draft, definitions: Mapping[str, LabelDefinition], options: ImportOptions) -> ImportPlan:
    found, labels, form = draft.found, draft.labels, draft.recognised.form
    left_out = {reason: list(names) for reason, names in found.left_out.items()}
    choice = choose_image_type(found.images, labels.joined.rows, options.image_type or form.image_type, options.image_type is not None)
    left_out |= choice.left_out
    diagnoses = _diagnose(choice.images, labels, left_out)
    if not diagnoses:
        raise LesionflowError(f"{draft.opened.path} contains no image with a diagnosis; nothing was imported. {draft.recognised.reason}")
    levels = {name: labels.levels(name, diagnosis) for name, diagnosis in diagnoses.items()}
    counts = Counter(levels.values())
    label_set, fit = choose_label_set(counts, form, definitions)
    if label_set is not None:
        require_agreement(definitions[label_set], labels.folders, labels.joined, diagnoses)
    targets = assign_targets({name: names[0] for name, names in levels.items()}, found.licenses, draft.jpegs)
    namespace = choose_namespace(draft.opened.path, form, options.source)
    rows = labels.joined.rows
    if LESION in rows:
        rows = rows.assign(**{LESION: name_lesions(rows[LESION], namespace)})
    if draft.read.without_images:
        left_out["tables without a column that names images"] = draft.read.without_images
    if labels.joined.unrelated:
        left_out["tables that name no image of this source"] = labels.joined.unrelated
    return ImportPlan(
        source=draft.opened.path.name,
        namespace=namespace,
        recognised=draft.recognised,
        image_type=choice.image_type,
        targets=targets,
        sizes=draft.sizes,
        metadata=_metadata(rows, {name: targets[name] for name in diagnoses}, diagnoses),
        attributions=draft.read.attributions,
        levels=levels,
        label_set=label_set,
        fitting=fit,
        left_out=left_out,
        notes=labels.joined.notes,
    )


def _diagnose(images: Iterable[str], labels: _Labels, left_out: dict[str, list[str]]) -> dict[str, str]:
    """The diagnosis of each image; those without one are added to the files that are left out."""
    diagnoses = {}
    for name in images:
        if diagnosis := labels.diagnosis(name):
            diagnoses[name] = diagnosis
        else:
            left_out.setdefault(labels.reason_without(name), []).append(name)
    return diagnoses


def choose_label_set(
    counts: Mapping[tuple[str, ...], int], form: Form, definitions: Mapping[str, LabelDefinition]
) -> tuple[str | None, list[str]]:
    """The label set of a dataset, and all in which every diagnosis has a place: the first of the form's own that fits, or the finest."""
    fit = fitting(counts, definitions)
    return next((name for name in form.label_sets if name in fit), None) or finest(counts, definitions), fit


def _require_images(opened: Source, found: SortedMembers) -> None:
    if found.archives:
        raise LesionflowError(
            f"{opened.path} contains an archive: {found.archives[0]!r}. Unpack it, then import the folder; nothing was imported"
        )
    if not found.images:
        others = {reason: names for reason, names in found.left_out.items() if reason not in (SYSTEM, MASKS)}
        listed = "; ".join(f"{reason}: {len(names)}" for reason, names in others.items())
        raise LesionflowError(
            f"{opened.path} contains no image in JPEG, PNG, BMP, TIFF or WEBP; nothing was imported"
            + (f". Left out: {listed}" if listed else "")
        )


def _read_tables(opened: Source, members: list[Member], found: SortedMembers, options: ImportOptions) -> SourceTables:
    sizes = {member.name: member.size for member in members}
    if options.table is None:
        return read_source_tables(opened, found.tables, found.attributions, sizes)
    table = read_given_table(options.table, opened.path, opened, found.tables, sizes)
    others = [name for name in found.tables if name != table.name]
    read = read_source_tables(opened, [], found.attributions, sizes)
    return SourceTables([table], others, read.attributions)


def _label(found: SortedMembers, read: SourceTables, form: Form, known: Callable[[str], bool]) -> _Labels:
    """Join the tables, and read the diagnoses of the folders."""
    within = common_folders([*found.images, *(table.name for table in read.tables)]) if form.labels_images else 0
    folders = diagnoses_of_folders(found.images, known, within)
    others = [name for names in found.left_out.values() for name in names]
    selected = [select_columns(table, form, is_required(table, form)) for table in _described(name_images(read.tables, form), form)]
    images = ImageIndex(found.images, folders)
    joined = join_duplicates(join_tables(selected, images, ImageIndex(others, {})), read.tables, form, images)
    if form.complete:
        joined.require_complete()
    return _Labels(folders, joined, form, known)


def _described(tables: list[Table], form: Form) -> list[Table]:
    """The tables that name images, and those that must."""
    return [table for table in tables if image_column(table.rows, form) or is_required(table, form)]


def _metadata(rows: pd.DataFrame, targets: Mapping[str, str], diagnoses: Mapping[str, str]) -> pd.DataFrame | None:
    """metadata.csv: one row for each image that a table names or whose folders name the original split, with the columns that are not
    empty; None if there is nothing to say."""
    splits = {name: split for name in targets if (split := original_split(name))}
    named = [name for name in rows.index if name in targets]
    there = set(named)
    table = rows.reindex([*named, *(name for name in splits if name not in there)])
    if splits:
        table["given_side"] = table.index.map(splits)
    if LABEL in table:
        table[DIAGNOSIS] = [diagnoses[name] if known else None for name, known in zip(table.index, table[DIAGNOSIS].notna(), strict=True)]
    columns = [column for column in known_columns().columns if column in table and table[column].notna().any()]
    table = table[columns].set_axis([targets[name] for name in table.index]).rename_axis(FILE).reset_index()
    return table if columns and len(table) else None
