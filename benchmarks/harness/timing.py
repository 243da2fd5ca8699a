"""Measures rates in interleaved rounds, so that drift of the machine affects all equally."""

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)
Rates = dict[str, list[float]]


def timed(run: Callable[[], int]) -> Callable[[], float]:
    """Rate of a run per second, from the count that it returns."""

    def measured() -> float:
        start = time.perf_counter()
        count = run()
        return count / (time.perf_counter() - start)

    return measured


def interleaved_rounds(measured: Mapping[Name, Callable[[], float]], rounds: int) -> dict[Name, list[float]]:
    """Measurements of each function per round, after a warmup round; the order rotates between rounds."""
    found: dict[Name, list[float]] = {name: [] for name in measured}
    names = list(measured)
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            value = measured[name]()
            if number:
                found[name].append(value)
    return found


def medians(found: Mapping[Name, list[float]]) -> dict[Name, float]:
    """Median over the rounds of each function."""
    return {name: statistics.median(values) for name, values in found.items()}


def median_ratio(found: Rates, name: str, other: str) -> float:
    """Median over rounds of the ratio of two functions, paired by round."""
    return statistics.median(one / two for one, two in zip(found[name], found[other], strict=True))
