"""Answers from the registered model, as tables and JSON."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.console import render_table
from components.core.errors import LesionflowError
from components.core.escaping import for_terminal
from components.registry import promotion, versions
from components.runtime import params_file
from components.serving import loading
from components.serving.answers import Answer, answer
from components.tracking import store

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
    client = store.connect()
    with store.mlflow_errors("MLflow's registry did not answer"):
        noticed = promotion.read_champion_state(client, model).noticed
        version = versions.find_version(client, model, wanted)
    if version is None:
        raise LesionflowError(f"{model} has no {wanted if not wanted.isdigit() else f'version {wanted}'}: {versions.HOW_TO_REGISTER}")
    answers, unreadable = _answers(loading.load_version(version), list(dict.fromkeys(paths)))
    warnings = [promotion.external_move_warning(noticed)] if noticed else []
    if any(found.prediction_set is None for found in answers.values()):
        warnings.append(f"version {version.version} was registered by an older release: it has no prediction sets, and it never abstains")
    return PredictionResult(model, str(version.version), answers, unreadable, warnings)


def _answers(version: loading.ServedModel, paths: list[Path]) -> tuple[dict[str, Answer], dict[Path, str]]:
    """The answer about each image that could be read, and the reasons for the others. Few files are in memory at once."""
    reasons: dict[Path, str] = {}
    asked: list[Path] = []

    def contents() -> Iterator[bytes]:
        for path in paths:
            try:
                content = path.read_bytes()
            except OSError as fault:
                reasons[path] = (fault.strerror or str(fault)).lower()
            else:
                asked.append(path)
                yield content

    table, unreadable = version.answers(contents())
    reasons |= {asked[number]: reason for number, reason in unreadable.items()}
    answers = {
        str(asked[number]): answer(version.contract, row.pop("diagnosis"), row)
        for number, row in zip(table.index, table.to_dict("records"), strict=True)
    }
    return answers, {path: reasons[path] for path in paths if path in reasons}


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
