"""What the page prints about an answer. Templates hold no logic: each value here is shown, or left out if it is empty."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.server.page import evidence
from app.server.page.evidence import Point
from app.server.page.facts import Facts
from app.server.page.form import Impression
from app.server.page.lesion import Computed
from app.server.page.pictures import Picture
from app.server.page.wording import REASONS, bounds, listed, percent, words
from components.serving.answers import TRIAGE, Answer, Contract, Spread


@dataclass(frozen=True)
class Line:
    """One diagnosis of the ranked list.

    Attributes:
        name: for people.
        exact: probability as a number, for programs.
        share: the same, for people.
        width: of the bar, 0 to 100.
        named: whether it is the named diagnosis.
        in_set: whether it is in the prediction set.
        ends_set: whether the line below which nothing is in the set follows.
    """

    name: str
    exact: str
    share: str
    width: str
    named: bool
    in_set: bool
    ends_set: bool


@dataclass(frozen=True)
class Case:
    """A similar case. `picture` is a URL, or empty."""

    diagnosis: str
    picture: str
    source: str


@dataclass(frozen=True)
class SpreadTable:
    """How far probabilities lie apart: rows of a name and a range."""

    what: str
    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ResultView:
    """All that the page shows about a lesion. What does not apply is empty.

    Attributes:
        version: that answered.
        alarm: sentence, shown first.
        reasons: why the version abstains; the ranking is then empty.
        impression: the reader's own, and what the model names.
        lines: the ranked list.
        has_set: whether the version has prediction sets.
        malignant: probability, for people.
        malignant_outputs: names of the malignant diagnoses.
        points: operating points.
        measured_on: images that they were measured on.
        notes: sentences about the malignant probability.
        limits: sentences on what the answer rests on.
        counts: diagnoses of the nearest training cases.
        spreads: tables of ranges.
        prevalence: rows of a diagnosis with its share behind the probabilities, in the clinic, and its probability there.
        moved: sentence if another version answered than the one that the page was opened with.
    """

    version: str
    alarm: str
    reasons: tuple[str, ...]
    impression: tuple[str, str] | None
    lines: tuple[Line, ...]
    has_set: bool
    malignant: str
    malignant_exact: str
    malignant_outputs: str
    points: tuple[Point, ...]
    measured_on: str
    notes: tuple[str, ...]
    limits: tuple[str, ...]
    pictures: tuple[Picture, ...]
    unreadable: tuple[str, ...]
    counts: str
    cases: tuple[Case, ...]
    spreads: tuple[SpreadTable, ...]
    prevalence: tuple[tuple[str, str, str], ...]
    explained: str
    moved: str


@dataclass(frozen=True)
class Asked:
    """With what the page was asked.

    Attributes:
        version: that answered.
        opened: version that the page showed when it was opened; empty if it is not known.
        impression: the reader's own; None if it was not asked for.
    """

    version: str
    opened: str = ""
    impression: Impression | None = None


def view(computed: Computed, contract: Contract, facts: Facts, asked: Asked) -> ResultView:
    """Turn an answer into what is printed.

    Raises:
        ValueError: there is no answer, since no picture could be read.
    """
    found = computed.answer
    if found is None:
        raise ValueError("there is no answer to show")
    answers = not found.abstained
    tells_malignant = found.malignant is not None and answers
    return ResultView(
        version=asked.version,
        alarm=_alarm(found, contract),
        reasons=tuple(REASONS.get(reason, f"{reason[:1].upper()}{reason[1:]}.") for reason in found.abstained),
        impression=_impression(found, asked.impression),
        lines=_lines(found) if answers else (),
        has_set=found.prediction_set is not None,
        malignant=percent(found.malignant) if tells_malignant and found.malignant is not None else "",
        malignant_exact=repr(found.malignant) if tells_malignant else "",
        malignant_outputs=", ".join(words(name) for name in contract.malignant),
        points=evidence.points(found, contract) if tells_malignant else (),
        measured_on="test images" if facts.test_images is None else f"{facts.test_images} test images",
        notes=evidence.notes(found, contract, facts) if tells_malignant else (),
        limits=evidence.limits(found, facts),
        pictures=computed.pictures,
        unreadable=unreadable(computed),
        counts=listed(found.neighbour_counts) if answers else "",
        cases=_cases(found, computed.thumbnails) if answers else (),
        spreads=_spreads(found) if answers else (),
        prevalence=_prevalence(found, contract) if answers else (),
        explained=words(found.diagnosis) if answers else "",
        moved=_moved(asked),
    )


def unreadable(computed: Computed) -> tuple[str, ...]:
    """A sentence about each picture that could not be read."""
    return tuple(f"Picture {number} could not be read: {reason}." for number, reason in computed.unreadable.items())


def _alarm(found: Answer, contract: Contract) -> str:
    if not found.alarm or found.malignant is None:
        return ""
    threshold = percent(contract.operating_points[TRIAGE])
    return f"The malignant probability of {percent(found.malignant)} reaches the operating point {TRIAGE} ({threshold})."


def _impression(found: Answer, own: Impression | None) -> tuple[str, str] | None:
    if own is None:
        return None
    return f"{words(own.diagnosis)}, {own.confidence}", "no answer" if found.abstained else words(found.diagnosis)


def _lines(found: Answer) -> tuple[Line, ...]:
    ranked = sorted(found.probabilities, key=lambda name: -found.probabilities[name])
    members = set(found.prediction_set or ())
    contiguous = bool(members) and set(ranked[: len(members)]) == members and len(members) < len(ranked)
    return tuple(
        Line(
            name=words(name),
            exact=repr(found.probabilities[name]),
            share=percent(found.probabilities[name]),
            width=f"{100 * found.probabilities[name]:.2f}",
            named=name == found.diagnosis,
            in_set=name in members,
            ends_set=contiguous and rank == len(members),
        )
        for rank, name in enumerate(ranked, start=1)
    )


def _cases(found: Answer, thumbnails: Mapping[int, str]) -> tuple[Case, ...]:
    return tuple(
        Case(
            diagnosis=words(case.diagnosis),
            picture=thumbnails.get(case.thumbnail, "") if case.thumbnail is not None else "",
            source=", ".join(part for part in (case.attribution, case.collection, case.license or "license not known") if part),
        )
        for case in found.similar
    )


def _spreads(found: Answer) -> tuple[SpreadTable, ...]:
    named: Sequence[tuple[str, Spread | None]] = (
        (f"Between the {found.pictures} pictures", found.picture_spread),
        ("Between mirrored and turned views of the same pixels", found.view_spread),
    )
    return tuple(SpreadTable(what, _ranges(found, spread)) for what, spread in named if spread is not None)


def _ranges(found: Answer, spread: Spread) -> tuple[tuple[str, str], ...]:
    ranked = sorted(spread.outputs, key=lambda name: -found.probabilities[name])
    rows = tuple((words(name), bounds(spread.outputs[name])) for name in ranked)
    return rows if spread.malignant is None else (("malignant", bounds(spread.malignant)), *rows)


def _prevalence(found: Answer, contract: Contract) -> tuple[tuple[str, str, str], ...]:
    ranked = sorted(found.shifted, key=lambda name: -found.shifted[name])
    return tuple((words(name), percent(contract.clinic_shares[name]), percent(found.shifted[name])) for name in ranked)


def _moved(asked: Asked) -> str:
    if not asked.opened or asked.opened == asked.version:
        return ""
    return f"Version {asked.version} answered. It took the place of version {asked.opened} after this page was opened."
