"""The reviewer's decisions about single files: decisions.csv, versioned in git next to params.yaml.

Columns: path, sha256, decision (keep, drop or relabel), to (the new diagnosis, for relabel), note. A row with an empty decision is
ignored. A decision applies only to the bytes it was made for: if the file has changed or is missing, the decision is reported as stale.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from components.core import spreadsheets
from components.core.errors import LesionflowError
from components.core.paths import LABELS
from components.data_quality.findings import Finding
from components.data_quality.label_definitions import fold, read_definitions

DECISIONS = Path("decisions.csv")
COLUMNS = ["path", "sha256", "decision", "to", "note"]
KEEP, DROP, RELABEL = "keep", "drop", "relabel"


@dataclass(frozen=True)
class Decisions:
    """By path: files kept regardless of findings, files dropped, new diagnoses of relabeled files; and findings about stale decisions."""

    keep: frozenset[str]
    drop: frozenset[str]
    relabel: dict[str, str]
    stale: tuple[Finding, ...]


def load_decisions(path: Path = DECISIONS, labels: Path = LABELS) -> pd.DataFrame:
    """Read the table and validate its decisions; empty if the file does not exist. A file may be relabeled to any diagnosis that one of
    the label sets knows.

    Raises:
        LesionflowError: the file is not such a table, or a row is invalid; the message names the line.
    """
    if not path.exists():
        return pd.DataFrame(columns=COLUMNS)
    table = spreadsheets.read(path)
    missing = [name for name in COLUMNS[:4] if name not in table]
    if missing:
        raise LesionflowError(f"{path} has no column {missing[0]!r}; required columns are {', '.join(COLUMNS)}")
    table["decision"] = table["decision"].str.strip().str.lower()
    table = table[table["decision"] != ""].copy()
    definitions = read_definitions(labels) if (table["decision"] == RELABEL).any() else {}
    for number, row in zip(table.index + 2, table.itertuples(), strict=True):
        if row.decision not in (KEEP, DROP, RELABEL):
            raise LesionflowError(f"{path}, line {number}: decision must be keep, drop or relabel, found {row.decision!r}")
        if row.decision == RELABEL and not any(definition.class_of(str(row.to)) for definition in definitions.values()):
            raise LesionflowError(
                f"{path}, line {number}: relabel requires in column 'to' a diagnosis that a label set in {labels}/ knows; found {row.to!r}"
            )
    table["to"] = [fold(name) if decision == RELABEL else "" for name, decision in zip(table["to"], table["decision"], strict=True)]
    conflicting = table.groupby("path")[["decision", "to", "sha256"]].nunique().max(axis=1)
    if (conflicting > 1).any():
        raise LesionflowError(f"{path} has conflicting decisions about {conflicting.index[conflicting > 1][0]}")
    return table.drop_duplicates("path")


def match_decisions(table: pd.DataFrame, files: pd.DataFrame) -> Decisions:
    """Match decisions with the files of the dataset by path and sha256."""
    current = dict(zip(files["path"], files["sha256"], strict=True))
    stale = []
    for row in table.itertuples():
        if current.get(row.path) != row.sha256:
            why = "the file does not exist" if row.path not in current else "the file's bytes have changed"
            stale.append(Finding("stale_decision", (row.path,), f"{row.decision} no longer applies: {why}"))
    gone = {finding.subjects[0] for finding in stale}
    holds = table[~table["path"].isin(gone)]
    by = {name: holds[holds["decision"] == name] for name in (KEEP, DROP, RELABEL)}
    return Decisions(
        frozenset(by[KEEP]["path"]),
        frozenset(by[DROP]["path"]),
        dict(zip(by[RELABEL]["path"], by[RELABEL]["to"], strict=True)),
        tuple(stale),
    )
