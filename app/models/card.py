"""Prints the model card of a registered version."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from app.models.champion import REGISTRY_ERROR, existing_version, load_champion_state
from components.core.errors import LesionflowError, first_line
from components.core.reports.candidate import Candidate
from components.registry import evidence
from components.registry.card import rendering
from components.registry.card.build import build_card
from components.registry.card.sources import read_sources
from components.tracking import store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


def card_text(wanted: str) -> str:
    """The model card of a version (a number or an alias) as Markdown. For a version that was registered without one, it is made from its
    evidence.

    Raises:
        LesionflowError: there is no such version, or it has neither a card nor evidence.
    """
    client, state = load_champion_state()
    with store.mlflow_errors(REGISTRY_ERROR):
        version = existing_version(client, state.model, wanted)
        with tempfile.TemporaryDirectory() as temporary:
            artifacts = _artifacts(client, version, Path(temporary))
            stored = artifacts / rendering.FOLDER / rendering.CARD
            if stored.exists():
                return stored.read_text(encoding="utf-8")
            folder, candidate = artifacts / evidence.FOLDER, artifacts / "candidate/candidate.json"
            if not (folder.exists() and candidate.exists()):
                raise LesionflowError(f"version {version.version} of {state.model} has neither a model card nor evidence to make one from")
            return rendering.card_page(build_card(read_sources(Candidate.read(candidate), folder)))


def _artifacts(client: "MlflowClient", version: "ModelVersion", temporary: Path) -> Path:
    import mlflow
    from mlflow.exceptions import MlflowException

    root = client.get_model_version_download_uri(version.name, str(version.version))
    try:
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=f"{root}/artifacts", dst_path=str(temporary)))
    except (MlflowException, OSError) as fault:
        raise LesionflowError(f"the artifacts of version {version.version} cannot be read: {first_line(fault)}") from None
