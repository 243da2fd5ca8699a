"""The diagram docs/assets/pipeline.svg: the stages of dvc.yaml in order, and what each hands to the next. Light and dark."""

from html import escape

import yaml

from documentation.repository import ROOT
from documentation.svg import picture

COLUMNS = 5
BOX_WIDTH, BOX_HEIGHT, GAP, ROW_GAP, MARGIN = 132, 54, 28, 42, 10
DOES = {
    "validate": "finds bad files",
    "split": "by lesion",
    "augment": "renders views",
    "embed": "runs the base once",
    "train": "fits the head",
    "finetune": "trains upper blocks",
    "evaluate": "metrics, shifts",
    "export": "TFLite, checked",
    "index": "training cases",
    "register": "version and gate",
}


def svg() -> str:
    """The diagram as SVG text."""
    stages = list(yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"])
    boxes = [*stages, "champion"]
    rows = -(-len(boxes) // COLUMNS)
    width = 2 * MARGIN + COLUMNS * BOX_WIDTH + (COLUMNS - 1) * GAP
    height = 2 * MARGIN + rows * BOX_HEIGHT + (rows - 1) * ROW_GAP
    parts = [*(_box(number, name) for number, name in enumerate(boxes)), *(_arrow(number) for number in range(len(boxes) - 1))]
    return picture(f"Pipeline: {', '.join(boxes)}", width, height, parts)


def _place(number: int) -> tuple[int, int]:
    """Left and top of a box."""
    row, column = divmod(number, COLUMNS)
    return MARGIN + column * (BOX_WIDTH + GAP), MARGIN + row * (BOX_HEIGHT + ROW_GAP)


def _box(number: int, name: str) -> str:
    left, top = _place(number)
    middle = left + BOX_WIDTH / 2
    kind = ' class="end"' if name == "champion" else ""
    does = DOES.get(name, "serving version")
    return (
        f'<rect{kind} x="{left}" y="{top}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6"/>'
        f'<text class="name" x="{middle:g}" y="{top + 23}">{escape(name)}</text>'
        f'<text x="{middle:g}" y="{top + 41}">{escape(does)}</text>'
    )


def _arrow(number: int) -> str:
    left, top = _place(number)
    next_left, next_top = _place(number + 1)
    if next_top == top:
        start, end, y = left + BOX_WIDTH, next_left - 2, top + BOX_HEIGHT / 2
        return f'<path d="M{start} {y:g}H{end - 7}"/><path class="head" d="M{end} {y:g}l-8 -4v8z"/>'
    down, between = next_left + BOX_WIDTH / 2, top + BOX_HEIGHT + ROW_GAP / 2
    return (
        f'<path d="M{left + BOX_WIDTH / 2:g} {top + BOX_HEIGHT}V{between:g}H{down:g}V{next_top - 9}"/>'
        f'<path class="head" d="M{down:g} {next_top - 2}l-4 -8h8z"/>'
    )
