"""The model card of a version as sections for the page."""

from dataclasses import dataclass

from components.core.reports.evaluation import Estimate
from components.registry.card.model import Card, Cell, FlowStep, Row

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class TableView:
    """A table of the card; cells are text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Subject:
    """A row of the card: pairs of a label and a text, tables, and steps of the flow of files."""

    title: str
    anchor: str
    entries: tuple[tuple[str, str], ...]
    tables: tuple[TableView, ...]
    flow: tuple[str, ...]


def sections(card: Card) -> dict[str, list[Subject]]:
    """The rows of a card by section, in the card's order."""
    found: dict[str, list[Subject]] = {}
    for row in card.rows.values():
        found.setdefault(row.section, []).append(_subject(row))
    return found


def _subject(row: Row) -> Subject:
    return Subject(
        title=row.title,
        anchor=row.anchor,
        entries=tuple((entry.label, entry.text) for entry in row.entries.values()),
        tables=tuple(
            TableView(table.title, table.columns, tuple(tuple(_text(cell) for cell in cells) for cells in table.rows))
            for table in row.tables.values()
        ),
        flow=tuple(_step(step) for step in row.flow),
    )


def _text(cell: Cell) -> str:
    if cell is None:
        return NOT_MEASURED
    return f"{cell:.3f}" if isinstance(cell, float | Estimate) else str(cell)


def _step(step: FlowStep) -> str:
    out = ", ".join(f"{reason}: {count}" for reason, count in step.left_out.items())
    return f"{step.files} {step.name}{f' (left out: {out})' if out else ''}"
