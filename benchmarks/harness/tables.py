"""Formats metrics as Markdown tables that are also aligned on a terminal, with the targets of this project."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats
from tabulate import tabulate


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
    aligned = ["left", *["right"] * (len(head) - 1)]
    return tabulate(rows, headers=head, tablefmt="pipe", colalign=aligned, disable_numparse=True)


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
