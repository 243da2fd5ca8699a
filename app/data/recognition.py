"""Recognises the form of a source by the headers of its tables and by its folders."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from app.data.forms.definitions import FOLDERS, TABLE, Form, ImageType, fold_header, forms
from app.data.members import METADATA, parts_of
from app.data.source_tables import GivenTable
from app.data.tables import Table, image_column, names_labels
from components.core.errors import LesionflowError


@dataclass(frozen=True)
class ImportOptions:
    """What the user says about a source; None lets the import recognise it."""

    form: str | None = None
    table: GivenTable | None = None
    image_type: ImageType | None = None
    source: str | None = None
    """Name of the source, which its ids are named after."""
    add: bool = False
    """Add the source to the present dataset instead of replacing it."""


@dataclass(frozen=True)
class Recognised:
    """The form of a source and the reason."""

    form: Form
    reason: str
    table: GivenTable | None = None
    """The table that the user names."""


def recognise(tables: Collection[Table], folders: Mapping[str, str], known: Callable[[str], bool], options: ImportOptions) -> Recognised:
    """Recognise the form of a source.

    Args:
        tables: its tables that have a column which names images.
        folders: diagnosis of each image by its folders, as far as they name one.
        known: whether a label set knows a diagnosis.
        options: what the user says.

    Raises:
        LesionflowError: it has no known form; the message says what was looked for.
    """
    if options.table is not None:
        return Recognised(_with_columns(_named(options.form) or TABLE, options.table), f"--table {options.table.path}", options.table)
    if form := _named(options.form):
        return Recognised(form, f"--form {form.name}")
    for form in sorted(forms().values(), key=lambda one: max(map(len, one.headers), default=0), reverse=True):
        for table in tables:
            if matched := has_headers(table, form):
                return Recognised(form, f"{table.name} has the columns {', '.join(table.headers[header] for header in matched)}")
    return _by_folders(tables, folders, known)


def _by_folders(tables: Iterable[Table], folders: Mapping[str, str], known: Callable[[str], bool]) -> Recognised:
    names = sorted(set(folders.values()))
    of_label_set = sum(known(diagnosis) for diagnosis in folders.values())
    if of_label_set and 2 * of_label_set >= len(folders):
        return Recognised(FOLDERS, f"images are in folders named after diagnoses: {_listed([name for name in names if known(name)])}")
    for table in tables:
        if (image := image_column(table.rows, TABLE)) and names_labels(table, TABLE):
            return Recognised(TABLE, f"{table.name} names images in the column {table.headers[image]} and has a column of diagnoses")
    if len(names) > 1:
        return Recognised(FOLDERS, f"images are in {len(names)} folders, and no table labels them: {_listed(names)}")
    headers = "; ".join(f"{form.title}: {', '.join(form.headers[0])}" for form in forms().values() if form.headers)
    alone = f" All images are in one folder, {names[0]!r}, which no label set knows." if names else ""
    raise LesionflowError(
        f"the form of this source is not known; nothing was imported.{alone} Looked for folders named after diagnoses, for a table with a"
        f" column of image names and one of diagnoses, and for tables with these columns: {headers}. Describe a table with --table,"
        " --image-column and --label-column, or name a form with --form"
    )


def has_headers(table: Table, form: Form) -> tuple[str, ...]:
    """The headers by which a table is of a form, or none."""
    return next((headers for headers in form.headers if {*headers} <= {*table.rows}), ())


def is_required(table: Table, form: Form) -> bool:
    """Whether a table must name images of the source: metadata.csv, and the one that the form is recognised by."""
    return parts_of(table.name)[-1].lower() == METADATA or form.name == TABLE.name or bool(has_headers(table, form))


def _named(name: str | None) -> Form | None:
    if name is None:
        return None
    if name not in forms():
        raise LesionflowError(f"there is no form {name!r}; the forms are {', '.join(forms())}")
    return forms()[name]


def _with_columns(form: Form, given: GivenTable) -> Form:
    """The form with the columns that the user names."""
    columns = {fold_header(header): column for header, column in given.columns.items()}
    labels = ("diagnosis",) if "diagnosis" in columns.values() else form.labels
    one_hot = () if "diagnosis" in columns.values() else form.one_hot
    return form.model_copy(update={"columns": {**form.columns, **columns}, "labels": labels, "one_hot": one_hot})


def _listed(names: Collection[str], most: int = 5) -> str:
    shown = list(names)[:most]
    return ", ".join([*shown, *(["..."] if len(names) > most else [])])
