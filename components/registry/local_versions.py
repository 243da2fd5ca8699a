"""Finds a version in the project's own store without MLflow, whose import takes longer than a prediction.

It reads MLflow's database as MLflow 3 lays it out, and finds nothing where anything is not as expected: another layout, a store that is
not a SQLite file, files that are elsewhere, or a champion that the promotion record does not name. MLflow is asked then.
"""

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from components.registry.promotion_record import RUN_TAG

CHAMPION = "champion"
PREFIX = "sqlite:///"
FILE = "file://"
ARTIFACTS = "artifacts"
"""Folder beside the database; versions elsewhere are MLflow's to find, since the store may have been moved or copied (relocation.py)."""


@dataclass(frozen=True)
class LocalVersion:
    """A version's number, and the folder of its logged model."""

    number: str
    folder: Path


def find_local_version(store: str, model: str, wanted: str) -> LocalVersion | None:
    """The version that an alias or a number names; None if MLflow must be asked.

    Args:
        store: URI of the store.
        model: the registered model.
        wanted: an alias or a version number.
    """
    database = Path(store.removeprefix(PREFIX))
    if not store.startswith(PREFIX) or not database.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            if not _champion_is_recorded(connection, model):
                return None
            found = _find(connection, model, wanted)
            return found if found and found.folder.is_relative_to(database.parent.resolve() / ARTIFACTS) else None
    except (sqlite3.Error, OverflowError, ValueError, KeyError, TypeError):
        return None


def _find(connection: sqlite3.Connection, model: str, wanted: str) -> LocalVersion | None:
    number = int(wanted) if wanted.isdigit() else _aliased(connection, model, wanted)
    query = "SELECT storage_location FROM model_versions WHERE name = ? AND version = ? AND status = 'READY'"
    rows = connection.execute(query, (model, number)).fetchall()
    if len(rows) != 1 or not str(rows[0][0]).startswith(FILE):
        return None
    folder = Path(unquote(urlsplit(rows[0][0]).path))
    return LocalVersion(str(number), folder) if (folder / "MLmodel").is_file() else None


def _aliased(connection: sqlite3.Connection, model: str, alias: str) -> int | None:
    rows = connection.execute("SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?", (model, alias)).fetchall()
    return int(rows[0][0]) if len(rows) == 1 else None


def _champion_is_recorded(connection: sqlite3.Connection, model: str) -> bool:
    """Whether the last entry of the promotion record made the present champion, and its move is finished."""
    tag = 'SELECT value FROM registered_model_tags WHERE name = ? AND "key" = ?'
    (run,) = connection.execute(tag, (model, RUN_TAG)).fetchone()
    params = dict(connection.execute('SELECT "key", value FROM params WHERE run_uuid = ?', (run,)).fetchall())
    last = max((key for key in params if key.isdigit()), default=None)
    champion = _aliased(connection, model, CHAMPION)
    if last is None:
        return champion is None
    return f"{last}.moved" in params and json.loads(params[last])["after"] == (None if champion is None else str(champion))
