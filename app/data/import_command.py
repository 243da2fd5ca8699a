"""Turns the options of `lesionflow import` into an import."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.data.ingest import describe_import, import_dataset
from app.data.isic import import_isic
from app.data.recognition import ImportOptions
from app.data.source_tables import COLUMN_OPTIONS, GivenTable, read_description
from components.core.errors import LesionflowError


def import_messages(source: Path, options: dict[str, Any]) -> Iterator[str]:
    """The messages of the import that the options describe.

    Raises:
        LesionflowError: options do not fit together, or the import is refused.
    """
    table = given_table(options)
    name = options["source_name"] or (table.namespace if table is not None else None)
    given = ImportOptions(options["form_name"], table, options["image_type"], name, options["add"])
    search = {name: options[name] for name in ("collections", "search", "limit")}
    if source == Path("isic") and not source.exists():
        if given != ImportOptions(add=given.add) or options["dry_run"]:
            raise LesionflowError("the source isic takes only --collection, --search, --limit and --add. Leave the other options out.")
        return import_isic(**search, add=given.add)
    if any(search.values()):
        raise LesionflowError(
            "--collection, --search and --limit require the source isic. Run `lesionflow import isic`, or leave them out."
        )
    return (describe_import if options["dry_run"] else import_dataset)(source, None, given)


def given_table(options: dict[str, Any]) -> GivenTable | None:
    """The table that --table and the options of its columns describe, or --table-description. --table then names another file.

    Raises:
        LesionflowError: a column is named without a table or beside a description, or the description cannot be read.
    """
    columns = {options[name]: column for name, column in COLUMN_OPTIONS.items() if options[name]}
    if options["table_description"] is not None:
        if columns:
            raise LesionflowError("--table-description names the columns. Leave --image-column and the other columns out.")
        described = read_description(options["table_description"])
        return replace(described, path=options["table"] or described.path)
    if options["table"] is None:
        if columns:
            raise LesionflowError("--image-column, --label-column, --lesion-column and --patient-column require --table.")
        return None
    return GivenTable(options["table"], columns)
