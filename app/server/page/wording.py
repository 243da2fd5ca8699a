"""How the page writes probabilities and names."""

from collections.abc import Mapping

from components.core.reports.evaluation import Estimate
from components.serving.answers import NOT_DERMOSCOPIC, TOO_UNCERTAIN, UNLIKE_TRAINING, Range

REASONS = {
    NOT_DERMOSCOPIC: "The picture does not look like a dermoscopic image.",
    UNLIKE_TRAINING: "The picture is unlike anything that the model was trained on.",
    TOO_UNCERTAIN: "The probabilities are too close to each other: the largest is below this version's limit for an answer.",
}
"""Why a version abstains, as sentences."""
SMALLEST = 0.001
PERCENT = "\N{NO-BREAK SPACE}%"


def words(name: str) -> str:
    """The name of a diagnosis or operating point for people."""
    return name.replace("_", " ")


def percent(share: float) -> str:
    """A share with one decimal. One that is not 0 or 1 never reads as such."""
    if 0 < share < SMALLEST:
        return f"< 0.1{PERCENT}"
    if 1 - SMALLEST < share < 1:
        return f"> 99.9{PERCENT}"
    return f"{100 * share:.1f}{PERCENT}"


def whole_percent(share: float) -> str:
    """A share without decimals, for measured figures."""
    return f"{100 * share:.0f}{PERCENT}"


def bounds(found: Range) -> str:
    """The smallest and the largest of several probabilities."""
    smallest, largest = percent(found[0]), percent(found[1])
    return smallest if smallest == largest else f"{smallest} to {largest}"


def interval(found: Estimate) -> str:
    """The 95 % interval of a share."""
    return f"{100 * found.low:.0f} to {whole_percent(found.high)}"


def listed(counts: Mapping[str, int]) -> str:
    """Counts in words, the largest first."""
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{count} {words(name)}" for name, count in ranked if count)
