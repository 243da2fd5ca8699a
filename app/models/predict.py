"""Diagnoses from the registered model, as tables and JSON."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from app.console import render_table
from components.core.errors import LesionflowError
from components.core.escaping import for_terminal
from components.registry import promotion, versions
from components.runtime import params_file
from components.serving import loading
from components.tracking import store


@dataclass(frozen=True)
class PredictionResult:
    """`table` has a row per image read: image, diagnosis, then a probability per output; `unreadable` says why not, `warnings` whether a
    person moved champion outside the gate."""

    model: str
    version: str
    table: pd.DataFrame
    unreadable: dict[Path, str]
    warnings: list[str]


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
    table, unreadable = _answers(loading.load_version(version), list(dict.fromkeys(paths)))
    return PredictionResult(model, str(version.version), table, unreadable, [promotion.external_move_warning(noticed)] if noticed else [])


def _answers(version: loading.ServedModel, paths: list[Path]) -> tuple[pd.DataFrame, dict[Path, str]]:
    """A row for each image that could be read, and the reasons for the others. Few files are in memory at once."""
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
    if len(table):
        table.insert(0, "image", [str(asked[number]) for number in table.index])
    return table.reset_index(drop=True), {path: reasons[path] for path in paths if path in reasons}


def as_json(result: PredictionResult) -> str:
    """A JSON list, an object per image: image, model, version, diagnosis, probabilities."""
    rows = [
        {
            "image": row.pop("image"),
            "model": result.model,
            "version": result.version,
            "diagnosis": row.pop("diagnosis"),
            "probabilities": row,
        }
        for row in result.table.to_dict("records")
    ]
    return json.dumps(rows, indent=2)


def as_table(result: PredictionResult) -> str:
    """A table with a row per image and output, the likeliest first; its first row is the diagnosis."""
    from rich.table import Table

    table = Table(title=f"{result.model} version {result.version}", title_justify="left", show_edge=False)
    table.add_column("image", overflow="fold")
    table.add_column("diagnosis")
    table.add_column("probability", justify="right")
    for row in result.table.to_dict("records"):
        image = for_terminal(str(row.pop("image")))
        row.pop("diagnosis")
        likeliest = sorted(row.items(), key=lambda item: -item[1])
        for rank, (name, share) in enumerate(likeliest):
            style = None if rank else "bold"
            table.add_row("" if rank else image, str(name).replace("_", " "), f"{share:.3f}", style=style, end_section=rank == len(row) - 1)
    return render_table(table)
