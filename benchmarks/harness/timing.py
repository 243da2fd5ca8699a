"""Rates of several things on a machine that drifts: all in turn, in rounds."""

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)
Rates = dict[str, list[float]]


def timed(run: Callable[[], int]) -> Callable[[], float]:
    """The rate of a run, per second, from the count that it returns."""

    def measured() -> float:
        start = time.perf_counter()
        count = run()
        return count / (time.perf_counter() - start)

    return measured


def in_turn(measured: Mapping[Name, Callable[[], float]], rounds: int) -> dict[Name, list[float]]:
    """What each measures, round by round, after a round that is not kept; the order turns, so that none always follows the same."""
    found: dict[Name, list[float]] = {name: [] for name in measured}
    names = list(measured)
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            value = measured[name]()
            if number:
                found[name].append(value)
    return found


def medians(found: Mapping[Name, list[float]]) -> dict[Name, float]:
    """The middle of each's rounds."""
    return {name: statistics.median(values) for name, values in found.items()}


def paired(found: Rates, name: str, other: str) -> float:
    """Median over rounds of one over the other, each pair from one round."""
    return statistics.median(one / two for one, two in zip(found[name], found[other], strict=True))
