"""Makes one lesion of images that a source lists as duplicates of each other, so that they are never in two splits."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import pandas as pd

from app.data.forms.definitions import Form
from app.data.metadata import ImageIndex, JoinedTables
from app.data.tables import Table

LESION, PATIENT = "lesion_id", "patient_id"


def join_duplicates(joined: JoinedTables, tables: Iterable[Table], form: Form, images: ImageIndex) -> JoinedTables:
    """The joined tables with one lesion for each group of duplicates that the source's lists of pairs name.

    A group takes the lesion that one of its images has, or is named after its first image. Groups with several lesions or patients stay
    as they are, and are named.
    """
    for table in tables:
        if form.pairs and {*form.pairs} <= {*table.rows}:
            joined = _join(joined, table, form.pairs, images)
    return joined


def _join(joined: JoinedTables, table: Table, pairs: Sequence[str], images: ImageIndex) -> JoinedTables:
    lesions = dict(joined.cells.get(LESION, {}))
    patients = joined.cells.get(PATIENT, {})
    groups, absent = _groups(table, pairs, images, frozenset(joined.rows.index))
    apart = []
    for group in groups:
        given = {lesions[name] for name in group if name in lesions}
        if len(given) > 1 or len({patients.get(name) for name in group}) > 1:
            apart.append(group)
        else:
            lesions |= dict.fromkeys(group, next(iter(given), PurePosixPath(group[0]).stem))
    rows = joined.rows.assign(**{LESION: pd.Series(lesions, dtype="str").reindex(joined.rows.index)}) if lesions else joined.rows
    lines = [f"{table.name}: {len(groups) - len(apart)} groups of duplicates are one lesion each"]
    if apart:
        first = ", ".join(apart[0])
        lines.append(f"{table.name}: {len(apart)} groups of duplicates have several lesions or patients and were not joined, first {first}")
    if absent:
        lines.append(f"{table.name}: {len(absent)} pairs name images that are not here, first {absent[0]}")
    return replace(joined, rows=rows, duplicates=[*joined.duplicates, *lines])


def _groups(table: Table, pairs: Sequence[str], images: ImageIndex, described: frozenset[str]) -> tuple[list[list[str]], list[str]]:
    """The groups of images that pairs connect, and the pairs of which an image is not in the source."""
    group_of: dict[str, list[str]] = {}
    absent = []
    for pair in zip(*(table.rows[header] for header in pairs), strict=True):
        matches = [images.find(given, ()) for given in pair]
        found = {names[0] for names in matches if len(names) == 1} & described
        if len(found) != len({*pair}):
            absent.append(" and ".join(pair))
            continue
        group = sorted({other for name in found for other in group_of.get(name, [name])})
        group_of |= dict.fromkeys(group, group)
    return _distinct(group_of), absent


def _distinct(group_of: Mapping[str, list[str]]) -> list[list[str]]:
    return [group for name, group in group_of.items() if name == group[0] and len(group) > 1]
