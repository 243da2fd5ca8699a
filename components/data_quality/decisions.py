"""What a person decided about single files: decisions.csv, versioned in git beside params.yaml.

Columns: path, sha256, decision (keep, drop or relabel), to (the class, with relabel), note. A row with an empty decision is
undecided. A decision holds for the bytes it was made on: where the file has changed or gone, it is stale and says so.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from components.core import spreadsheets
from components.core.classes import CLASSES, class_of_folder
from components.core.errors import LesionflowError
from components.data_quality.findings import Finding

DECISIONS = Path("decisions.csv")
COLUMNS = ["path", "sha256", "decision", "to", "note"]
KEEP, DROP, RELABEL = "keep", "drop", "relabel"


@dataclass(frozen=True)
class Decisions:
    """By path: which files are kept whatever is found, which are dropped, which class others get; and what no longer matches."""

    keep: frozenset[str]
    drop: frozenset[str]
    relabel: dict[str, str]
    stale: tuple[Finding, ...]


def read(path: Path = DECISIONS) -> pd.DataFrame:
    """The table, its decisions checked and its classes canonical; empty where the file is not there.

    Raises:
        LesionflowError: it is no such table, or a row is wrong; the message names the row.
    """
    if not path.exists():
        return pd.DataFrame(columns=COLUMNS)
    table = spreadsheets.read(path)
    lacking = [name for name in COLUMNS[:4] if name not in table]
    if lacking:
        raise LesionflowError(f"{path} has no column {lacking[0]!r}; it needs {', '.join(COLUMNS)}")
    table["decision"] = table["decision"].str.strip().str.lower()
    table = table[table["decision"] != ""].copy()
    for number, row in zip(table.index + 2, table.itertuples(), strict=True):
        if row.decision not in (KEEP, DROP, RELABEL):
            raise LesionflowError(f"{path}, line {number}: decision {row.decision!r} is none of keep, drop, relabel")
        if row.decision == RELABEL and class_of_folder(str(row.to)) is None:
            raise LesionflowError(
                f"{path}, line {number}: relabel needs a class in column 'to', one of {', '.join(CLASSES)}; found {row.to!r}"
            )
    table["to"] = [
        class_of_folder(name) if decision == RELABEL else "" for name, decision in zip(table["to"], table["decision"], strict=True)
    ]
    differing = table.groupby("path")[["decision", "to", "sha256"]].nunique().max(axis=1)
    if (differing > 1).any():
        raise LesionflowError(f"{path} decides twice, and differently, about {differing.index[differing > 1][0]}")
    return table.drop_duplicates("path")


def match(table: pd.DataFrame, files: pd.DataFrame) -> Decisions:
    """Hold decisions against the files of the dataset, which have path and sha256."""
    now = dict(zip(files["path"], files["sha256"], strict=True))
    stale = []
    for row in table.itertuples():
        if now.get(row.path) != row.sha256:
            why = "the file is not there" if row.path not in now else "the file's bytes have changed"
            stale.append(Finding("stale_decision", (row.path,), f"{row.decision} no longer applies: {why}"))
    gone = {finding.paths[0] for finding in stale}
    holds = table[~table["path"].isin(gone)]
    by = {name: holds[holds["decision"] == name] for name in (KEEP, DROP, RELABEL)}
    return Decisions(
        frozenset(by[KEEP]["path"]),
        frozenset(by[DROP]["path"]),
        dict(zip(by[RELABEL]["path"], by[RELABEL]["to"], strict=True)),
        tuple(stale),
    )
