"""What a model card is: rows with entries and tables, of which none is ever left out. card.json is this document."""

from typing import Literal

from pydantic import Field

from components.core.document import Document, Part
from components.core.reports.evaluation import Estimate

State = Literal["given", "not recorded", "not measured", "not stated"]
"""Whether the card tells something; if not, whether the dataset, the evaluation or a person lacks it."""
Cell = str | int | float | Estimate | None
"""A cell of a table; None: not measured."""


class Entry(Part):
    """One thing that a row tells, or why it does not."""

    label: str = Field(description="what it is, for people")
    state: State
    text: str = Field(description="the value for people, or which of the reasons it is missing for")
    figure: Estimate | None = Field(default=None, description="the value as a number with its 95 % interval")


class Table(Part):
    """A table of a row."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


class FlowStep(Part):
    """A step from the files of the dataset to the splits."""

    name: str
    files: int
    left_out: dict[str, int] = Field(default_factory=dict, description="files that do not come to this step, by reason")
    after: int | None = Field(default=None, description="number of the step before it, from 0")


class Row(Part):
    """One subject of the card."""

    title: str
    section: str
    asked_by: dict[str, str] = Field(description="guidelines that ask for it, each with its item")
    entries: dict[str, Entry]
    tables: dict[str, Table] = Field(default_factory=dict)
    flow: tuple[FlowStep, ...] = Field(default=(), description="steps of the flow diagram")

    @property
    def anchor(self) -> str:
        """The end of a link to the row's heading in card.md."""
        return self.title.lower().replace(",", "").replace(" ", "-")

    @property
    def missing(self) -> tuple[str, ...]:
        """The labels of the entries that are not given."""
        return tuple(entry.label for entry in self.entries.values() if entry.state != "given")


class Metric(Part):
    """A test figure of the card's head."""

    type: str
    name: str
    value: float


class Head(Part):
    """What model registries search by: the head of card.md."""

    model: str
    license: str
    tags: tuple[str, ...]
    dataset: str
    dataset_revision: str
    metrics: tuple[Metric, ...]


class Card(Document):
    """The card of a version, without the gate's verdict, which changes."""

    head: Head
    summary: str
    rows: dict[str, Row]
