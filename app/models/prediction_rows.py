"""What `lesionflow predict` says about one image or lesion, as a JSON object and as a row of a CSV table with fixed columns."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.core import spreadsheets
from components.serving.answers import Answer, Contract, Spread

FORMATS = ("jsonl", "csv")
"""Formats with one line per row, which a later run can continue."""
BETWEEN = "; "
"""Separates the names in one cell of a CSV table."""


@dataclass(frozen=True)
class Row:
    """The answer about an image, or why there is none.

    Attributes:
        image: its path as text, or the paths of all images of one lesion.
        answer: the version's answer; None if the image could not be read.
        error: why it could not be read; empty if it could.
    """

    image: str
    answer: Answer | None = None
    error: str = ""


def name_of(path: object) -> str:
    """A path as text that is valid UTF-8: bytes of a name that are not are escaped."""
    return str(path).encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True)
class RowForm:
    """The form of the rows of one version, named by `model` and `version`."""

    model: str
    version: str
    contract: Contract

    def as_object(self, row: Row) -> dict[str, Any]:
        """The row as a JSON object. It has the same keys for every row; what is not known is null. The diagnosis is null where the version
        abstains, and `abstained` lists why."""
        known = {} if row.answer is None else _known(row.answer)
        whole = {"image": row.image, "model": self.model, "version": self.version, "error": row.error or None}
        return whole | {key: known.get(key) for key in KEYS}

    def as_json_line(self, row: Row) -> str:
        """The row as one line of JSON."""
        return json.dumps(self.as_object(row)) + "\n"

    @property
    def columns(self) -> list[str]:
        """Columns of the CSV table."""
        outputs = self.contract.outputs
        points = [f"at_or_above_{name}" for name in self.contract.operating_points]
        ranges = [f"{name}_{end}" for name in (*(f"p_{output}" for output in outputs), "malignant") for end in ("low", "high")]
        return [
            *("image", "model", "version", "error", "alarm", "abstained", "diagnosis", "malignant_probability"),
            *(*points, "prediction_set", "in_training", "pictures"),
            *(*(f"p_{name}" for name in outputs), *ranges, *(f"neighbours_{name}" for name in outputs)),
        ]

    def as_csv_line(self, row: Row) -> str:
        """The row as one row of a CSV table."""
        whole = {"image": row.image, "model": self.model, "version": self.version, "error": row.error}
        cells = whole | ({} if row.answer is None else _cells(row.answer))
        return spreadsheets.row_text([cells.get(name, "") for name in self.columns])

    def line(self, form: str, row: Row) -> str:
        """The row in one of FORMATS."""
        return self.as_json_line(row) if form == "jsonl" else self.as_csv_line(row)


def _known(found: Answer) -> dict[str, Any]:
    return {
        "alarm": found.alarm if found.operating_points else None,
        "abstained": list(found.abstained),
        "diagnosis": None if found.abstained else found.diagnosis,
        "malignant_probability": found.malignant,
        "operating_points": found.operating_points,
        "prediction_set": found.prediction_set,
        "probabilities": found.probabilities,
        "shifted_probabilities": found.shifted or None,
        "prevalence": found.prevalence or None,
        "view_spread": _ranges(found.view_spread),
        "picture_spread": _ranges(found.picture_spread),
        "pictures": found.pictures,
        "neighbour_counts": found.neighbour_counts or None,
        "similar_cases": [dict(vars(case)) for case in found.similar],
        "in_training": _in_training(found),
    }


def _ranges(spread: Spread | None) -> dict[str, Any] | None:
    return None if spread is None else {"malignant": spread.malignant, "probabilities": spread.outputs}


def _cells(found: Answer) -> dict[str, str | float]:
    """The cells that an answer fills; a column without one is empty."""
    spread = found.picture_spread or found.view_spread
    return {
        "alarm": _truth(found.alarm if found.operating_points else None),
        "abstained": BETWEEN.join(found.abstained),
        "diagnosis": "" if found.abstained else found.diagnosis,
        "malignant_probability": "" if found.malignant is None else _rounded(found.malignant),
        **{f"at_or_above_{name}": _truth(reached) for name, reached in found.operating_points.items()},
        "prediction_set": BETWEEN.join(found.prediction_set or ()),
        "in_training": _truth(_in_training(found)),
        "pictures": found.pictures,
        **{f"p_{name}": _rounded(value) for name, value in found.probabilities.items()},
        **_range_cells({f"p_{name}": bounds for name, bounds in spread.outputs.items()} if spread else {}),
        **_range_cells({"malignant": spread.malignant} if spread and spread.malignant else {}),
        **{f"neighbours_{name}": count for name, count in found.neighbour_counts.items()},
    }


def _range_cells(ranges: Mapping[str, Sequence[float]]) -> dict[str, str | float]:
    return {f"{name}_{end}": _rounded(value) for name, bounds in ranges.items() for end, value in zip(("low", "high"), bounds, strict=True)}


def _in_training(found: Answer) -> bool | None:
    """Whether the picture was in the training data; None where the version has no index of them."""
    return found.in_training if found.in_training or found.neighbour_counts else None


def _truth(value: bool | None) -> str:
    return "" if value is None else str(value).lower()


def _rounded(value: float) -> float:
    return round(value, 6)


KEYS = tuple(_known(Answer("", {}, None, {}, None)))
"""Keys of a JSON object that an answer fills."""
