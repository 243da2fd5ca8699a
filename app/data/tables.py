"""Reads the tables of a source as text, and selects the columns that an import knows."""

import io
from collections.abc import Container, Iterable
from dataclasses import dataclass, replace

import pandas as pd

from app.data.forms.definitions import Form, fold_header, known_columns
from components.core.errors import LesionflowError
from components.data_quality.placeholders import NO_PATIENT, NO_VALUE

FILE, ID = "filename", "isic_id"
LABEL, DIAGNOSIS = "label", "diagnosis"
BAR = "|"
SEPARATORS = f",;\t{BAR}"
WIDE_ENCODINGS = (b"\xff\xfe", b"\xfe\xff")
"""Byte order marks of UTF-16."""
ARCHIVE_IMAGE = r"^(ISIC_\d{7})(?!\d)"


@dataclass(frozen=True, eq=False)
class Table:
    """A table of a source: its name there, its rows with folded headers, and the headers as the table spells them."""

    name: str
    rows: pd.DataFrame
    headers: dict[str, str]


@dataclass(frozen=True)
class SelectedTable:
    """The known columns of a table: `filename` as it is given, `label` as the source writes it, `diagnosis` if the label is one."""

    name: str
    rows: pd.DataFrame
    left_out: tuple[str, ...]
    """Headers of the columns that are not imported."""
    required: bool
    """Whether it is an error if no row names an image of the source."""


def read_table(content: bytes, name: str) -> Table:
    """Read a table with all values as text, in UTF-8, UTF-16 or Latin-1; the separator is the comma, semicolon, tab or bar that is most
    frequent in the first line. If that line begins with a bar, the table is the lines that do, and columns without a header are none.

    Raises:
        LesionflowError: the content is not such a table.
    """
    text = _decoded(content, name)
    separator = max(SEPARATORS, key=text.partition("\n")[0].count)
    framed = separator == BAR and text.lstrip().startswith(BAR)
    if framed:
        text = "\n".join(line for line in text.splitlines() if line.lstrip().startswith(BAR))
    try:
        rows = pd.read_csv(io.StringIO(text), sep=separator, dtype=str, index_col=False, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as fault:
        raise LesionflowError(f"{name!r} is not a CSV table: {fault}. Save it as CSV in UTF-8; nothing was imported") from None
    if framed:
        rows = rows.loc[:, [bool(header.strip()) and not header.startswith("Unnamed: ") for header in rows]]
    headers = {fold_header(header): header.strip() for header in reversed(rows.columns)}
    rows = rows.rename(columns=fold_header)
    rows = rows.loc[:, ~rows.columns.duplicated()]
    rows = rows.fillna("").apply(lambda column: column.str.strip())
    return Table(name, rows, {header: headers[header] for header in rows})


def _decoded(content: bytes, name: str) -> str:
    if content.startswith(WIDE_ENCODINGS):
        try:
            return content.decode("utf-16")
        except UnicodeDecodeError:
            raise LesionflowError(f"{name!r} is not in UTF-16, as its first bytes say. Save it in UTF-8; nothing was imported") from None
    if b"\0" in content:
        raise LesionflowError(f"{name!r} is not a CSV table: it contains zero bytes. Save it as CSV in UTF-8; nothing was imported")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def image_column(headers: Container[str], form: Form) -> str | None:
    """The one of a table's folded headers that names the images, or None."""
    given = [header for header, column in form.columns.items() if column == FILE]
    return next((header for header in (*given, *known_columns().images) if header in headers), None)


def name_images(tables: Iterable[Table], form: Form) -> list[Table]:
    """Add the images' names to the tables without them, from the table that has both the names and the form's column `joined_by`."""
    tables = list(tables)
    key = form.joined_by
    named = [table for table in tables if image_column(table.rows, form)]
    source = next((table for table in named if key in table.rows), None)
    if key is None or source is None:
        return tables
    image = image_column(source.rows, form)
    return [
        table if table in named or key not in table.rows else replace(table, rows=source.rows[[image, key]].merge(table.rows, on=key))
        for table in tables
    ]


def names_labels(table: Table, form: Form) -> bool:
    """Whether a table has a column with diagnoses."""
    return bool({*form.one_hot} & {*table.rows}) or len(_label_columns(table, form).columns) > 0


def select_columns(table: Table, form: Form, required: bool = True) -> SelectedTable:
    """Select the columns that an import knows, under its names.

    Raises:
        LesionflowError: no column names the images, a row names none, or a row does not have exactly one of the diagnoses.
    """
    image = image_column(table.rows, form)
    if image is None:
        looked_for = ", ".join(known_columns().images)
        raise LesionflowError(
            f"{table.name!r} has no column that names the images: found {', '.join(table.headers.values())}; looked for {looked_for}."
            " Name it with --table and --image-column; nothing was imported"
        )
    rows = pd.DataFrame({FILE: table.rows[image]})
    if ID in table.rows:
        rows[FILE] = rows[FILE].where(rows[FILE] != "", table.rows[ID])
    if (rows[FILE] == "").any():
        raise LesionflowError(f"{table.name!r}, line {rows[FILE].eq('').idxmax() + 2}: no {FILE} and no {ID}; nothing was imported")
    known, used = _known(table, form)
    rows = rows.join(known)
    labels = _labels(table, form)
    if labels is not None:
        rows[LABEL] = labels
        rows[DIAGNOSIS] = labels.mask(_says_nothing(labels))
    if ID not in rows and image != FILE and (ids := table.rows[image].str.extract(ARCHIVE_IMAGE, expand=False)).notna().any():
        rows[ID] = ids
    read = {image, *used, *form.one_hot, *_label_columns(table, form)}
    return SelectedTable(table.name, rows, tuple(table.headers[header] for header in table.headers if header not in read), required)


def _says_nothing(values: "pd.Series[str]", words: frozenset[str] = NO_VALUE) -> "pd.Series[bool]":
    return values.isna() | values.fillna("").str.casefold().isin(words)


def _known(table: Table, form: Form) -> tuple[pd.DataFrame, list[str]]:
    """The known columns with null for cells that say nothing, and the headers that they come from."""
    columns = {header: column for header, column in form.columns.items() if column != FILE}
    for column, others in known_columns().columns.items():
        columns |= {header: column for header in (column, *others) if header not in form.columns}
    used = [header for header in columns if header in table.rows]
    known = pd.DataFrame(index=table.rows.index)
    for column in known_columns().columns:
        values = [table.rows[header] for header in used if columns[header] == column]
        for value in values:
            value = value.mask(_says_nothing(value, NO_PATIENT if column == "patient_id" else NO_VALUE))
            known[column] = known[column].fillna(value) if column in known else value
    if "age_approx" in known:
        ages = known["age_approx"].str.replace(r"\.0+$", "", regex=True)
        known["age_approx"] = ages.where(pd.to_numeric(ages, errors="coerce").notna())  # a date of birth stays out
    return known, used


def _label_columns(table: Table, form: Form) -> pd.DataFrame:
    """The columns of diagnoses, the most specific first, as the table has them."""
    columns = {header: column for header, column in form.columns.items() if column == DIAGNOSIS}
    aliases = known_columns().columns[DIAGNOSIS]
    wanted = []
    for label in form.labels or known_columns().labels:
        wanted += [label, *(columns if label == DIAGNOSIS else ()), *(aliases if label == DIAGNOSIS else ())]
    return table.rows[[header for header in dict.fromkeys(wanted) if header in table.rows]]


def _labels(table: Table, form: Form) -> "pd.Series[str] | None":
    """The label of each row as the source writes it, null where it has none; None without a column of labels."""
    if {*form.one_hot} & {*table.rows}:
        return _one_hot(table, form)
    columns = _label_columns(table, form)
    if not len(columns.columns):
        return None
    labels = pd.Series(None, index=table.rows.index, dtype="str")
    for header in columns:
        labels = labels.fillna(columns[header].mask(_says_nothing(columns[header])))
    for header in columns:
        labels = labels.fillna(columns[header].mask(columns[header] == ""))
    return labels.replace(form.codes)


def _one_hot(table: Table, form: Form) -> "pd.Series[str]":
    headers = [header for header in form.one_hot if header in table.rows]
    marks = table.rows[headers].apply(pd.to_numeric, errors="coerce").fillna(0) > 0
    wrong = marks.sum(axis=1) != 1
    if wrong.any():
        line = int(wrong.to_numpy().argmax())
        raise LesionflowError(
            f"{table.name!r}, line {line + 2}: {int(marks.iloc[line].sum())} of {', '.join(headers)} are set, not one; nothing was imported"
        )
    return marks.idxmax(axis=1).map(table.headers)
