"""Refuses a table whose labels contradict the folders of the images."""

from collections.abc import Mapping

from app.data.metadata import JoinedTables
from app.data.tables import DIAGNOSIS
from components.core.errors import LesionflowError
from components.data_quality.dataset import ARCHIVE_LEVELS
from components.data_quality.label_definitions import LabelDefinition

LEVELS = (*ARCHIVE_LEVELS, DIAGNOSIS)
"""Columns with the labels of tables, the most specific first."""


def require_agreement(definition: LabelDefinition, folders: Mapping[str, str], joined: JoinedTables, images: Mapping[str, str]) -> None:
    """Raise if tables and folders put images into different classes of the label set.

    Args:
        definition: the label set in which the labels are compared; a label without a class contradicts nothing.
        folders: diagnosis of the images by their folders.
        joined: the tables.
        images: diagnosis of the images that are imported.

    Raises:
        LesionflowError: they do; the message names the first image and the number of images.
    """
    differing = []
    compared: dict[tuple[str, ...], bool] = {}
    for name in images:
        if name not in folders:
            continue
        levels = tuple(cell for level in LEVELS if (cell := joined.cells.get(level, {}).get(name)))
        labels = (folders[name], *levels)
        if labels not in compared:
            by_folder, by_table = definition.class_of(folders[name]), definition.class_of_levels(levels)
            compared[labels] = bool(by_folder and by_table and by_folder != by_table)
        if compared[labels]:
            differing.append((name, folders[name], levels[0]))
    if differing:
        name, folder, label = differing[0]
        count = "1 image has" if len(differing) == 1 else f"{len(differing)} images have"
        raise LesionflowError(
            f"{count} another label in a table than by the folder, first {name!r}: {label!r} in the table, {folder!r} by"
            f" its folder (compared as classes of {definition.name}). Correct one of them; nothing was imported"
        )
