"""Formats metrics as Markdown tables that are also aligned on a terminal, with the targets of this project."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats


@dataclass(frozen=True)
class Target:
    """Target for a metric: a minimum, or with `most` a maximum."""

    limit: float
    most: bool = False

    def verdict(self, value: float) -> str:
        """Whether the metric meets the target."""
        return "met" if (value <= self.limit if self.most else value >= self.limit) else "MISSED"

    def __str__(self) -> str:
        return f"{'<=' if self.most else '>='} {self.limit:g}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table: first column left-aligned, the others right-aligned."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first, *rest = (
            cell.ljust(width) if not at else cell.rjust(width) for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join([first, *rest])} |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(head), line(rule), *(line(row) for row in rows)])


def mean_with_interval(values: Sequence[float], digits: int = 3) -> str:
    """Mean over seeds with its 95 % interval by Student's t (Gosset 1908); only the mean for fewer than three seeds."""
    mean = statistics.mean(values)
    if len(values) < 3:
        return f"{mean:.{digits}f}"
    half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return f"{mean:.{digits}f} [{mean - half:.{digits}f}, {mean + half:.{digits}f}]"


def target_cells(target: Target | None, values: Sequence[float], digits: int = 3) -> list[str]:
    """Three cells: the mean over seeds, the target, and whether the mean meets it."""
    cells = [mean_with_interval(values, digits)]
    return [*cells, str(target), target.verdict(statistics.mean(values))] if target else [*cells, "", ""]
