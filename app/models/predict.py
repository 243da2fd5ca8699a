"""Answers from the registered model, as tables and JSON."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.console import render_table
from app.models.lookup import find_version
from components.core.errors import UnreadableImageError
from components.core.escaping import for_terminal
from components.runtime import params_file
from components.serving import loading
from components.serving.answers import Answer
from components.serving.loading import ServedPredictor
from components.serving.older_versions import ServedModel

if TYPE_CHECKING:
    from rich.table import Table

READ_ERROR, ABSTAINED = 1, 3
"""Exit codes: an image could not be read; the model abstained from an image."""


@dataclass(frozen=True)
class PredictionResult:
    """`answers` has each image that could be read; `unreadable` says why not, `warnings` whether a person moved champion outside the
    gate."""

    model: str
    version: str
    answers: dict[str, Answer]
    unreadable: dict[Path, str]
    warnings: list[str]

    @property
    def exit_code(self) -> int:
        """0 if every image was answered."""
        if self.unreadable:
            return READ_ERROR
        return ABSTAINED if any(found.abstained for found in self.answers.values()) else 0


def predict_images(paths: list[Path], wanted: str) -> PredictionResult:
    """Diagnose images with a version of the registered model.

    Args:
        paths: the image files.
        wanted: an alias, as "champion", or a version number.

    Raises:
        LesionflowError: the version does not exist, or MLflow does not answer.
    """
    model = params_file.load().registration.registered_model
    found = find_version(model, wanted)
    served = loading.load_folder(found.folder, f"version {found.number} of {model}")
    answers, unreadable = _answers(served, list(dict.fromkeys(paths)))
    warnings = [*found.warnings, *([f"version {found.number}: {served.warning}"] if served.warning else [])]
    return PredictionResult(model, found.number, answers, unreadable, warnings)


def _answers(served: ServedPredictor | ServedModel, paths: list[Path]) -> tuple[dict[str, Answer], dict[Path, str]]:
    """The answer about each image that could be read, and the reasons for the others. One file is in memory at a time."""
    answers: dict[str, Answer] = {}
    reasons: dict[Path, str] = {}
    for path in paths:
        try:
            answers[str(path)] = served.predict(path.read_bytes())
        except OSError as fault:
            reasons[path] = (fault.strerror or str(fault)).lower()
        except UnreadableImageError as fault:
            reasons[path] = str(fault)
    return answers, reasons


def as_json(result: PredictionResult) -> str:
    """A JSON list, an object per image. The diagnosis is null where the model abstains, and `abstained` says why."""
    rows = [
        {
            "image": image,
            "model": result.model,
            "version": result.version,
            "diagnosis": None if found.abstained else found.diagnosis,
            "abstained": "; ".join(found.abstained) or None,
            "malignant_probability": found.malignant,
            "operating_points": found.operating_points,
            "prediction_set": found.prediction_set,
            "probabilities": found.probabilities,
        }
        for image, found in result.answers.items()
    ]
    return json.dumps(rows, indent=2)


def as_table(result: PredictionResult) -> str:
    """A table with the named diagnosis of each image first, then a row per output, the likeliest first; the diagnosis and the ranking are
    withheld where the model abstains."""
    from rich.table import Table

    table = Table(title=f"{result.model} version {result.version}", title_justify="left", show_edge=False)
    table.add_column("image", overflow="fold")
    table.add_column("answer")
    table.add_column("probability", justify="right")
    for image, found in result.answers.items():
        _add_answer(table, for_terminal(image), found)
    return render_table(table)


def _add_answer(table: "Table", image: str, found: Answer) -> None:
    reached = [name for name, is_reached in found.operating_points.items() if is_reached]
    malignant = [] if found.malignant is None else [(f"malignant{_reached(reached)}", f"{found.malignant:.3f}")]
    if found.abstained:
        rows = [(f"no answer: {'; '.join(found.abstained)}", ""), *malignant]
        rows = rows[::-1] if reached else rows
    else:
        ranked = sorted(found.probabilities.items(), key=lambda item: -item[1])
        inside = found.prediction_set or ()
        listed = [(f"{_words(name)}{' *' if name in inside else ''}", f"{share:.3f}") for name, share in ranked]
        rows = [(f"named: {_words(found.diagnosis)}", ""), *malignant, *listed]
    for number, (text, share) in enumerate(rows):
        table.add_row("" if number else image, text, share, style=None if number else "bold", end_section=number == len(rows) - 1)


def _reached(names: list[str]) -> str:
    return f", at or above {' and '.join(map(_words, names))}" if names else ""


def _words(name: str) -> str:
    return name.replace("_", " ")
