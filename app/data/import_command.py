"""Turns the options of `lesionflow import` into an import."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.data.ingest import describe_import, import_dataset
from app.data.isic import import_isic
from app.data.recognition import ImportOptions
from app.data.source_tables import GivenTable
from components.core.errors import LesionflowError

COLUMN_OPTIONS = {"image_column": "filename", "label_column": "diagnosis", "lesion_column": "lesion_id", "patient_column": "patient_id"}
"""Known column that each option names a header for."""


def import_messages(source: Path, options: dict[str, Any]) -> Iterator[str]:
    """The messages of the import that the options describe.

    Raises:
        LesionflowError: options do not fit together, or the import is refused.
    """
    given = ImportOptions(form=options["form_name"], table=given_table(options), image_type=options["image_type"])
    search = {name: options[name] for name in ("collections", "search", "limit")}
    if source == Path("isic") and not source.exists():
        if given != ImportOptions() or options["dry_run"]:
            raise LesionflowError("the source isic takes only --collection, --search and --limit. Leave the other options out.")
        return import_isic(**search)
    if any(search.values()):
        raise LesionflowError(
            "--collection, --search and --limit require the source isic. Run `lesionflow import isic`, or leave them out."
        )
    return (describe_import if options["dry_run"] else import_dataset)(source, None, given)


def given_table(options: dict[str, Any]) -> GivenTable | None:
    """The table that --table and the options of its columns describe.

    Raises:
        LesionflowError: a column is named without a table.
    """
    columns = {options[name]: column for name, column in COLUMN_OPTIONS.items() if options[name]}
    if options["table"] is None:
        if columns:
            raise LesionflowError("--image-column, --label-column, --lesion-column and --patient-column require --table.")
        return None
    return GivenTable(options["table"], columns)
