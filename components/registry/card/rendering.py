"""Writes the card as files: card.md, card.json and checklist.md. Every text of the card is escaped."""

from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from components.core.escaping import for_markdown, one_line
from components.core.markdown import table
from components.core.reports.evaluation import Estimate
from components.registry.card.model import Card, Cell, Row, Table
from components.registry.card.rows import GUIDELINES

FOLDER = "card"
"""Name of the folder among the artifacts of a logged model and of a run."""
CARD, CHECKLIST, DOCUMENT = "card.md", "checklist.md", "card.json"
TEMPLATES = Path(__file__).parent
NO_CELL = "not measured"


class Markdown(str):
    """Text that is Markdown already, so it is not escaped."""

    __slots__ = ()


def write_card(card: Card, folder: Path) -> None:
    """Write the three files to a folder, which is created."""
    folder.mkdir(parents=True, exist_ok=True)
    card.write(folder / DOCUMENT)
    for name, text in ((CARD, card_page(card)), (CHECKLIST, checklist_page(card))):
        (folder / name).write_text(text, encoding="utf-8")


def card_page(card: Card) -> str:
    """card.md: the head of Hugging Face, and every row."""
    sections: dict[str, list[Row]] = {}
    for row in card.rows.values():
        sections.setdefault(row.section, []).append(row)
    return _render(f"{CARD}.jinja", card=card, head=Markdown(head(card)), sections=sections, table=markdown_table, flow=flow_diagram)


def checklist_page(card: Card) -> str:
    """checklist.md: what each guideline asks for, with links to the rows of card.md."""
    items = {name: [(row.asked_by[name], row) for row in card.rows.values() if name in row.asked_by] for name in GUIDELINES}
    return _render(f"{CHECKLIST}.jinja", card=card, items=items, page=CARD)


def _render(name: str, **values: Any) -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=False,
        finalize=_escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name).render(values)


def _escaped(value: object) -> str:
    return value if isinstance(value, Markdown) else for_markdown(str(value))


def head(card: Card) -> str:
    """The head as YAML, by Hugging Face's schema of model cards."""
    found = card.head
    results = [{"type": metric.type, "name": metric.name, "value": round(metric.value, 4)} for metric in found.metrics]
    dataset = {"type": "image-folder", "name": one_line(found.dataset), "split": "test", "revision": found.dataset_revision}
    task = {"type": "image-classification", "name": "Image classification"}
    return yaml.safe_dump(
        {
            "license": one_line(found.license),
            "library_name": "keras",
            "pipeline_tag": "image-classification",
            "tags": list(found.tags),
            "metrics": [metric.type for metric in found.metrics],
            "model-index": [{"name": found.model, "results": [{"task": task, "dataset": dataset, "metrics": results}]}],
        },
        sort_keys=False,
        allow_unicode=True,
        width=1000,
    ).rstrip()


def markdown_table(content: Table) -> Markdown:
    """A table of a row."""
    rows = [[for_markdown(cell_text(cell)) for cell in row] for row in content.rows]
    return Markdown(table([for_markdown(column) for column in content.columns], rows))


def cell_text(cell: Cell) -> str:
    """A cell for people."""
    if cell is None:
        return NO_CELL
    return f"{cell:.3f}" if isinstance(cell, float | Estimate) else str(cell)


def flow_diagram(row: Row) -> Markdown:
    """The flow of files as a Mermaid diagram."""
    lines = ["flowchart TD"]
    for number, step in enumerate(row.flow):
        lines.append(f'  step{number}["{_mermaid(f"{step.files} {step.name}")}"]')
        if step.after is not None:
            lines.append(f"  step{step.after} --> step{number}")
        if step.left_out:
            reasons = "<br>".join(_mermaid(f"{reason}: {count}") for reason, count in step.left_out.items())
            lines += [f'  out{number}["{sum(step.left_out.values())} left out<br>{reasons}"]', f"  step{step.after} --> out{number}"]
    return Markdown("\n".join(lines))


def _mermaid(text: str) -> str:
    """Text for a label in quotes: what is neither a letter, a digit nor harmless becomes a code."""
    return "".join(letter if letter.isalnum() or letter in " .,:()-" else f"#{ord(letter)};" for letter in one_line(text))
