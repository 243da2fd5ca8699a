"""Answers as text for people: one line per image, or all about one image. An alarm comes first, and an abstention withholds the ranking."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from app.console import render_table
from app.models.prediction_rows import Row, RowForm
from components.core.escaping import for_terminal
from components.serving.answers import TRIAGE, UNLIKE_TRAINING, Answer, Contract, Range

if TYPE_CHECKING:
    from rich.table import Table

ALARM = f"at or above {TRIAGE}"
NAMES, NUMBERS, ANSWER_WIDTH = "answer", ("probability", "malignant"), len(f"no answer: {UNLIKE_TRAINING}, ...")


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
        named, share = f"no answer: {found.abstained[0]}{', ...' if len(found.abstained) > 1 else ''}", ""
    else:
        named, share = _words(found.diagnosis), f"{found.probabilities[found.diagnosis]:.3f}"
    return _columns(ALARM if found.alarm else "", named, (share, malignant), for_terminal(row.image)) + "\n"


def _columns(alarm: str, answer: str, numbers: tuple[str, str], image: str) -> str:
    return f"{alarm:<{len(ALARM)}}  {answer:<{ANSWER_WIDTH}}  {numbers[0]:>{len(NUMBERS[0])}}  {numbers[1]:>{len(NUMBERS[1])}}  {image}"


def details(row: Row, rows: RowForm) -> str:
    """All about one image or lesion."""
    lines = [for_terminal(_title(rows)), for_terminal(row.image), ""]
    if row.answer is None:
        lines.append(f"unreadable: {for_terminal(row.error)}")
    else:
        lines += _lines(row.answer, rows.contract)
    return "\n".join(lines) + "\n"


def _title(rows: RowForm) -> str:
    return f"{rows.model} version {rows.version}"


def _lines(found: Answer, contract: Contract) -> Iterator[str]:
    if found.alarm:
        yield f"ALARM: {ALARM}"
    for reason in found.abstained:
        yield f"no answer: {reason}"
    if not found.abstained:
        yield f"named: {_words(found.diagnosis)}"
        yield ""
        yield render_table(_ranking(found))
    yield ""
    yield from _malignant(found, contract)
    yield from _background(found)


def _ranking(found: Answer) -> "Table":
    """Each output, the likeliest first, with what is known of its probability."""
    from rich.table import Table

    spread = found.picture_spread or found.view_spread
    columns = {"probability": {name: f"{share:.3f}" for name, share in found.probabilities.items()}}
    if spread is not None:
        columns["pictures" if found.picture_spread else "views"] = {name: _range(bounds) for name, bounds in spread.outputs.items()}
    if found.shifted:
        columns["at your prevalence"] = {name: f"{share:.3f}" for name, share in found.shifted.items()}
    table = Table(show_edge=False)
    for name in ("diagnosis", *columns):
        table.add_column(name, justify="left" if name == "diagnosis" else "right")
    if found.prediction_set is not None:
        columns["prediction set"] = {name: "yes" if name in found.prediction_set else "" for name in found.probabilities}
        table.add_column("prediction set")
    for name in sorted(found.probabilities, key=lambda name: -found.probabilities[name]):
        table.add_row(_words(name), *(cells[name] for cells in columns.values()))
    return table


def _malignant(found: Answer, contract: Contract) -> Iterator[str]:
    """The malignant probability, and the operating points that it reaches with what they do on test."""
    if found.malignant is None:
        return
    spread = found.picture_spread or found.view_spread
    bounds = f" [{_range(spread.malignant)}]" if spread is not None and spread.malignant is not None else ""
    yield f"malignant: {found.malignant:.3f}{bounds}"
    for name, is_reached in found.operating_points.items():
        measured = contract.measured_points.get(name)
        shares = f" (sensitivity {measured.sensitivity:.3f}, specificity {measured.specificity:.3f} on test)" if measured else ""
        if is_reached:
            yield f"  at or above {_words(name)}{shares}"


def _background(found: Answer) -> Iterator[str]:
    """What the answer rests on."""
    spread = found.picture_spread or found.view_spread
    if spread is not None:
        what = f"{found.pictures} pictures of the lesion" if found.picture_spread else "mirrored and turned views of the picture"
        yield f"ranges: smallest and largest probability of the {what}"
    if found.prevalence:
        shares = sorted(found.prevalence.items(), key=lambda item: -item[1])
        yield f"prevalence behind the probabilities: {', '.join(f'{_words(name)} {100 * share:.0f} %' for name, share in shares)}"
    if found.neighbour_counts and not found.abstained:
        total = sum(found.neighbour_counts.values())
        yield f"of the {total} nearest training cases: {_counts(found.neighbour_counts)}"
    if found.in_training:
        yield "this picture was in the training data"


def _counts(counts: Mapping[str, int]) -> str:
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{count} {_words(name)}" for name, count in ranked if count)


def _range(bounds: Range) -> str:
    return f"{bounds[0]:.3f} to {bounds[1]:.3f}"


def _words(name: str) -> str:
    return for_terminal(name.replace("_", " "))
