"""Answers as text for people: one line per image, or all about one image. An alarm comes first, and an abstention withholds the ranking."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from app.console import render_table
from app.models.prediction_rows import Row, RowForm
from components.core.escaping import for_terminal
from components.serving.answers import TRIAGE, Answer, Contract, Range

if TYPE_CHECKING:
    from rich.table import Table

ALARM = f"at or above {TRIAGE}"
NAMES, NUMBERS, ANSWER_WIDTH = "answer", ("probability", "malignant"), len("unreadable: no such file or directory")


def head_lines(rows: RowForm) -> str:
    """The lines above the lines of images."""
    return f"{_title(rows)}\n{_columns('alarm', NAMES, NUMBERS, 'image')}\n"


def image_line(row: Row) -> str:
    """One line about an image. Lines are printed as they come, so the columns have fixed widths and the path is last."""
    found = row.answer
    if found is None:
        return _columns("", f"unreadable: {for_terminal(row.error)}", ("", ""), for_terminal(row.image)) + "\n"
    malignant = "" if found.malignant is None else f"{found.malignant:.3f}"
    if found.abstained:
        named, share = f"no answer: {', '.join(found.abstained)}", ""
    else:
        named, share = _words(found.diagnosis), f"{found.probabilities[found.diagnosis]:.3f}"
    return _columns(ALARM if found.alarm else "", named, (share, malignant), for_terminal(row.image)) + "\n"


def _columns(alarm: str, answer: str, numbers: tuple[str, str], image: str) -> str:
    return f"{alarm:<{len(ALARM)}}  {answer:<{ANSWER_WIDTH}}  {numbers[0]:>{len(NUMBERS[0])}}  {numbers[1]:>{len(NUMBERS[1])}}  {image}"


def details(row: Row, rows: RowForm) -> str:
    """All about one image or lesion: a table."""
    from rich.table import Table

    table = Table(title=for_terminal(_title(rows)), title_justify="left", show_edge=False)
    table.add_column("image", overflow="fold")
    table.add_column("answer")
    table.add_column("probability", justify="right")
    if row.answer is None:
        table.add_row(for_terminal(row.image), f"unreadable: {for_terminal(row.error)}", "", style="bold")
    else:
        _add_answer(table, for_terminal(row.image), row.answer, rows.contract)
    return render_table(table) + "\n"


def _title(rows: RowForm) -> str:
    return f"{rows.model} version {rows.version}"


def _add_answer(table: "Table", image: str, found: Answer, contract: Contract) -> None:
    for number, (text, share) in enumerate(_lines(found, contract)):
        table.add_row("" if number else image, text, share, style=None if number else "bold")


def _lines(found: Answer, contract: Contract) -> Iterator[tuple[str, str]]:
    if found.alarm:
        yield ALARM, ""
    for reason in found.abstained:
        yield f"no answer: {reason}", ""
    if not found.abstained:
        yield f"named: {_words(found.diagnosis)}", ""
        yield from _ranking(found)
    yield from _malignant(found, contract)
    yield from _background(found)


def _ranking(found: Answer) -> Iterator[tuple[str, str]]:
    """Each output, the likeliest first; those in the prediction set have a star."""
    spread = found.picture_spread or found.view_spread
    ranges = spread.outputs if spread else {}
    for name, share in sorted(found.probabilities.items(), key=lambda item: -item[1]):
        star = " *" if name in (found.prediction_set or ()) else ""
        shifted = f"; at your prevalence {found.shifted[name]:.3f}" if found.shifted else ""
        yield f"{_words(name)}{star}{shifted}", _with_range(share, ranges.get(name))
    if found.prediction_set is not None:
        yield f"* prediction set: {', '.join(map(_words, found.prediction_set))}", ""


def _malignant(found: Answer, contract: Contract) -> Iterator[tuple[str, str]]:
    """The malignant probability, and the operating points that it reaches with what they do on test."""
    if found.malignant is None:
        return
    spread = found.picture_spread or found.view_spread
    yield "malignant", _with_range(found.malignant, spread.malignant if spread else None)
    for name, is_reached in found.operating_points.items():
        measured = contract.measured_points.get(name)
        shares = f" (sensitivity {measured.sensitivity:.3f}, specificity {measured.specificity:.3f} on test)" if measured else ""
        if is_reached:
            yield f"  at or above {_words(name)}{shares}", ""


def _background(found: Answer) -> Iterator[tuple[str, str]]:
    """What the answer rests on."""
    spread = found.picture_spread or found.view_spread
    if spread is not None:
        what = f"{found.pictures} pictures of the lesion" if found.picture_spread else "mirrored and turned views"
        yield f"in brackets: smallest and largest of the {what}", ""
    if found.prevalence:
        shares = sorted(found.prevalence.items(), key=lambda item: -item[1])
        yield f"prevalence behind: {', '.join(f'{_words(name)} {100 * share:.0f} %' for name, share in shares)}", ""
    if found.neighbour_counts and not found.abstained:
        total = sum(found.neighbour_counts.values())
        yield f"of the {total} nearest training cases: {_counts(found.neighbour_counts)}", ""
    if found.in_training:
        yield "this picture was in the training data", ""


def _counts(counts: Mapping[str, int]) -> str:
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{count} {_words(name)}" for name, count in ranked if count)


def _with_range(share: float, bounds: Range | None) -> str:
    return f"{share:.3f}" if bounds is None or bounds[0] == bounds[1] else f"{share:.3f} [{bounds[0]:.3f}, {bounds[1]:.3f}]"


def _words(name: str) -> str:
    return for_terminal(name.replace("_", " "))
