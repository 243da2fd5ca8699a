"""The picture docs/assets/pipeline.svg: the stages of dvc.yaml in order, and what each hands to the next. Light and dark."""

from html import escape

import yaml

from documentation.repository import ROOT

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
    "register": "version and gate",
}
STYLE = """
  text { font: 12px -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; text-anchor: middle; fill: #57606a; }
  .name { font-size: 14px; font-weight: 600; fill: #1f2328; }
  rect { fill: #f6f8fa; stroke: #8c959f; }
  .end { fill: #ddf4ff; stroke: #0969da; }
  path { fill: none; stroke: #8c959f; stroke-width: 1.5; }
  .head { fill: #8c959f; stroke: none; }
  @media (prefers-color-scheme: dark) {
    text { fill: #9198a1; }
    .name { fill: #f0f6fc; }
    rect { fill: #151b23; stroke: #656c76; }
    .end { fill: #121d2f; stroke: #4493f8; }
    path { stroke: #656c76; }
    .head { fill: #656c76; }
  }
"""


def svg() -> str:
    """The picture as SVG text."""
    stages = list(yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"])
    boxes = [*stages, "champion"]
    rows = -(-len(boxes) // COLUMNS)
    width = 2 * MARGIN + COLUMNS * BOX_WIDTH + (COLUMNS - 1) * GAP
    height = 2 * MARGIN + rows * BOX_HEIGHT + (rows - 1) * ROW_GAP
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
            f"<title>Pipeline: {escape(', '.join(boxes))}</title>",
            f"<style>{STYLE}</style>",
            *(_box(number, name) for number, name in enumerate(boxes)),
            *(_arrow(number) for number in range(len(boxes) - 1)),
            "</svg>",
            "",
        ]
    )


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
