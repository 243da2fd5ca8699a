"""Which pages and diagrams are generated, and whether they are up to date."""

from collections.abc import Callable, Iterator
from pathlib import Path

from documentation import (
    cli_reference,
    params_reference,
    pipeline_diagram,
    reports_reference,
    sequence_diagram,
    stored_files_reference,
)
from documentation.repository import DOCS, ROOT

GENERATED: dict[Path, Callable[[], str]] = {
    DOCS / "reference" / "cli.md": cli_reference.page,
    DOCS / "reference" / "params.md": params_reference.page,
    DOCS / "reference" / "reports.md": reports_reference.page,
    DOCS / "reference" / "stored-files.md": stored_files_reference.page,
    DOCS / "assets" / "pipeline.svg": pipeline_diagram.svg,
    DOCS / "assets" / "sequence.svg": sequence_diagram.svg,
}
RESULTS_PLOT = DOCS / "assets" / "results.png"
"""Drawn by results_plot; not compared, since fonts differ between machines."""


def stale() -> list[Path]:
    """Generated files that are missing or differ from what the code generates now, relative to the root."""
    return [path.relative_to(ROOT) for path, text in GENERATED.items() if not path.exists() or path.read_text(encoding="utf-8") != text()]


def write() -> Iterator[Path]:
    """Write the stale files; yields their names."""
    for name in stale():
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(GENERATED[path](), encoding="utf-8")
        yield name
