"""What the SVG diagrams of docs/assets/ share: the frame, and colors that are readable on a light and on a dark page."""

from collections.abc import Iterable
from html import escape

STYLE = """
  text { font: 12px -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; text-anchor: middle; fill: #57606a; }
  .name { font-size: 14px; font-weight: 600; fill: #1f2328; }
  .left { text-anchor: start; }
  rect { fill: #f6f8fa; stroke: #8c959f; }
  .end { fill: #ddf4ff; stroke: #0969da; }
  path { fill: none; stroke: #8c959f; stroke-width: 1.5; }
  .head { fill: #8c959f; stroke: none; }
  .dashed { stroke-dasharray: 5 4; }
  .thin { stroke-width: 1; stroke-dasharray: 2 3; }
  @media (prefers-color-scheme: dark) {
    text { fill: #9198a1; }
    .name { fill: #f0f6fc; }
    rect { fill: #151b23; stroke: #656c76; }
    .end { fill: #121d2f; stroke: #4493f8; }
    path { stroke: #656c76; }
    .head { fill: #656c76; }
  }
"""


def picture(title: str, width: int, height: int, parts: Iterable[str]) -> str:
    """The parts as one SVG file of this size in pixels; the title is what a screen reader reads."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            *parts,
            "</svg>",
            "",
        ]
    )
