"""Entries and tables of rows: a value, or the reason for which there is none."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from components.core.reports.cohort import Values
from components.core.reports.evaluation import Estimate
from components.registry.card.model import Cell, Entry, FlowStep, Table

OLDER = "the version is from before the release that keeps it"


@dataclass(frozen=True)
class Contents:
    """What a row tells."""

    entries: Mapping[str, Entry]
    tables: Mapping[str, Table] = field(default_factory=dict)
    flow: Sequence[FlowStep] = ()


def given(label: str, text: str, figure: Estimate | None = None) -> Entry:
    """A value."""
    return Entry(label=label, state="given", text=text, figure=figure)


def not_recorded(label: str, images: int | None) -> Entry:
    """Something that the dataset does not tell of this number of images; None if the number is not known either."""
    return Entry(label=label, state="not recorded", text="not recorded in this dataset" + ("" if images is None else f" (n = {images})"))


def not_measured(label: str, reason: str = "") -> Entry:
    """Something that the evaluation does not tell."""
    return Entry(label=label, state="not measured", text=f"not measured: {reason}" if reason else "not measured")


def stated(label: str, text: str | None) -> Entry:
    """What a person states in card.yaml, if anything."""
    return given(label, text) if text and text.strip() else Entry(label=label, state="not stated", text="not stated")


def measured(label: str, figure: Estimate | None, reason: str = "") -> Entry:
    """A figure with its interval; `reason`: why there is none."""
    return given(label, f"{figure:.3f}", figure) if figure is not None else not_measured(label, reason)


def counted(label: str, values: Values) -> Entry:
    """How many images have each value, or that the dataset tells it of none."""
    if not values.known:
        return not_recorded(label, values.images)
    unknown = f"; not known of {values.unknown}" if values.unknown else ""
    return given(label, f"{counts(values.known)}{unknown}")


def counts(numbers: Mapping[str, int]) -> str:
    """Numbers by name, in a line."""
    return ", ".join(f"{name} {number}" for name, number in numbers.items())


def listed(names: Iterable[str]) -> str:
    """Names of classes, for people."""
    return ", ".join(named(name) for name in names)


def named(key: str) -> str:
    """A key as people write it."""
    return key.replace("_", " ")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Table:
    """A table of a row."""
    return Table(title=title, columns=tuple(columns), rows=tuple(tuple(row) for row in rows))
