"""What stands behind a malignant probability: the operating points, the version's test images, and what the model does not know."""

from collections.abc import Iterator
from dataclasses import dataclass

from app.server.page.facts import Facts, SkinTypes
from app.server.page.wording import PERCENT, interval, listed, percent, whole_percent, words
from components.core.reports.clinic import CalibrationBin
from components.serving.answers import Answer, Contract

LIKE_MEASURED = "on pictures like those measured"
UNKNOWN = "The model sees the picture and nothing else: not age, sex, site on the body, history, or how the lesion changed."


@dataclass(frozen=True)
class Point:
    """An operating point: the malignant probability from which it flags, whether it does, and what it did on test."""

    name: str
    threshold: str
    reached: bool
    sensitivity: str
    specificity: str


def points(found: Answer, contract: Contract) -> tuple[Point, ...]:
    """The operating points, the lowest threshold first."""
    ranked = sorted(contract.operating_points.items(), key=lambda item: item[1])
    return tuple(_point(name, threshold, found, contract) for name, threshold in ranked)


def _point(name: str, threshold: float, found: Answer, contract: Contract) -> Point:
    measured = contract.measured_points.get(name)
    return Point(
        name=words(name),
        threshold=percent(threshold),
        reached=found.operating_points.get(name, False),
        sensitivity=whole_percent(measured.sensitivity) if measured else "not known",
        specificity=whole_percent(measured.specificity) if measured else "not known",
    )


def notes(found: Answer, contract: Contract, facts: Facts) -> tuple[str, ...]:
    """Sentences about the malignant probability."""
    return tuple(_notes(found, contract, facts))


def _notes(found: Answer, contract: Contract, facts: Facts) -> Iterator[str]:
    if found.malignant is not None and facts.curve:
        measured = bin_of(facts.curve, found.malignant)
        positive = round(measured.observed.value * measured.images)
        yield (
            f"Of {measured.images} test images with such a malignant probability ({_range(measured)}),"
            f" {positive} {'was' if positive == 1 else 'were'} malignant [95{PERCENT} interval {interval(measured.observed)}],"
            f" {LIKE_MEASURED}."
        )
    elif found.malignant is not None:
        yield "How many test images with such a malignant probability were malignant is not known: too few were measured."
    if found.prediction_set is not None and not set(found.prediction_set) & set(contract.malignant):
        yield f"No malignant diagnosis remains in the prediction set, {LIKE_MEASURED}."


def bin_of(curve: tuple[CalibrationBin, ...], probability: float) -> CalibrationBin:
    """The bin of test images that a probability belongs to: the last that begins at or below it, or the first.

    Args:
        curve: the bins, the lowest first. Those of an older release do not say where they begin; the nearest mean counts there.
        probability: malignant probability of a lesion.
    """
    if any(found.lowest is None for found in curve):
        return min(curve, key=lambda found: abs(found.probability - probability))
    return next((found for found in reversed(curve) if found.lowest is not None and found.lowest <= probability), curve[0])


def _range(measured: CalibrationBin) -> str:
    """Where the probabilities of a bin lie, in words."""
    if measured.lowest is None or measured.highest is None:
        return f"mean {percent(measured.probability)}"
    lowest, highest = percent(measured.lowest), percent(measured.highest)
    return lowest if lowest == highest else f"{lowest} to {highest}"


def limits(found: Answer, facts: Facts) -> tuple[str, ...]:
    """What the answer rests on, and what it does not know."""
    return tuple(_limits(found, facts))


def _limits(found: Answer, facts: Facts) -> Iterator[str]:
    yield UNKNOWN
    if facts.skin_types is not None:
        yield f"Skin types (Fitzpatrick) of the test images behind the figures: {_skin(facts.skin_types)}."
    else:
        yield "Skin types behind the figures: not known."
    if found.in_training:
        yield "A picture was in the training data, so its answer does not show how the model does on new pictures."


def _skin(found: SkinTypes) -> str:
    total = sum(found.known.values()) + found.unknown
    if not found.known:
        return f"not known for any of the {total}"
    known = listed({f"of type {name}": count for name, count in found.known.items()})
    return f"{known}; not known for {found.unknown} of {total}"
