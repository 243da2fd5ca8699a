"""Rates of several things on a machine that drifts: all in turn, in rounds."""

import statistics
from collections.abc import Callable, Mapping

Rates = dict[str, list[float]]


def in_turn(measured: Mapping[str, Callable[[], float]], rounds: int) -> Rates:
    """What each measures, round by round, after a round that is not kept; the order turns, so that none always follows the same."""
    found: Rates = {name: [] for name in measured}
    names = list(measured)
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            value = measured[name]()
            if number:
                found[name].append(value)
    return found


def medians(found: Rates) -> dict[str, float]:
    """The middle of each's rounds."""
    return {name: statistics.median(values) for name, values in found.items()}


def paired(found: Rates, name: str, other: str) -> float:
    """Median over rounds of one over the other, each pair from one round."""
    return statistics.median(one / two for one, two in zip(found[name], found[other], strict=True))
