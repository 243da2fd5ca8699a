"""Updates MLflow's local store after a project was moved or copied, since its database stores absolute artifact locations."""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

OWN = "/mlruns/artifacts"
"""End of the location of a project's own artifacts."""
LOCATIONS = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}
"""Columns of MLflow's database that contain a location."""


def relocate(database: Path) -> list[str]:
    """Rewrite locations in another folder's mlruns/artifacts to the one next to this database, in one transaction.

    A location is kept if its artifacts exist there and not here: then only the database was copied.

    Returns:
        The locations that were replaced.

    Raises:
        sqlite3.OperationalError: the database is locked.
    """
    here = (database.parent / "artifacts").resolve()
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables >= set(LOCATIONS):
            return []
        moved = [there for there in _others(connection, here) if not _stayed(connection, there, here)]
        if moved:
            connection.execute("BEGIN IMMEDIATE")
            for there in moved:
                _rewrite(connection, there, here.as_uri())
            connection.execute("COMMIT")
    return moved


def _others(connection: sqlite3.Connection, here: Path) -> list[str]:
    rows = connection.execute("SELECT DISTINCT artifact_location FROM experiments WHERE artifact_location LIKE 'file://%'")
    return sorted(location for (location,) in rows if location.endswith(OWN) and location != here.as_uri())


def _stayed(connection: sqlite3.Connection, there: str, here: Path) -> bool:
    before = Path(unquote(urlsplit(there).path))
    rows = connection.execute(
        "SELECT place FROM (SELECT artifact_uri AS place FROM runs UNION SELECT artifact_location FROM logged_models)"
        " WHERE substr(place, 1, ?) = ?",
        (len(there) + 1, f"{there}/"),
    )
    relative = [unquote(place[len(there) + 1 :]) for (place,) in rows]
    return any((before / name).exists() and not (here / name).exists() for name in relative)


def _rewrite(connection: sqlite3.Connection, there: str, here: str) -> None:
    for table, columns in LOCATIONS.items():
        for column in columns:
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                (here, len(there) + 1, there, len(there) + 1, f"{there}/"),
            )
