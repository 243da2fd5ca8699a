"""Finds the version that answers, without MLflow where the project's own store tells it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.errors import LesionflowError
from components.registry.local_versions import find_local_version
from components.serving import loading
from components.tracking import store

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


@dataclass(frozen=True)
class FoundVersion:
    """A version of the registered model.

    Attributes:
        model: the registered model.
        number: of the version.
        folder: of its logged model, on this machine.
        warnings: what people must know of it: whether a person moved champion outside the gate.
    """

    model: str
    number: str
    folder: Path
    warnings: tuple[str, ...] = ()


def find_version(model: str, wanted: str, fetch: "Callable[[ModelVersion], Path]" = loading.download) -> FoundVersion:
    """Find a version by an alias or a number. Nothing is written to the registry.

    Args:
        model: the registered model.
        wanted: an alias, as "champion", or a version number.
        fetch: a function from a version that is not in the project's own store to its folder.

    Raises:
        LesionflowError: it does not exist, or MLflow does not answer.
    """
    local = find_local_version(store.store_uri(), model, wanted)
    return FoundVersion(model, local.number, local.folder) if local else _ask_mlflow(model, wanted, fetch)


def _ask_mlflow(model: str, wanted: str, fetch: "Callable[[ModelVersion], Path]") -> FoundVersion:
    from components.registry import promotion, versions

    client = store.connect()
    with store.mlflow_errors("MLflow's registry did not answer"):
        moved = promotion.unrecorded_move(client, model)
        version = versions.find_version(client, model, wanted)
    if version is None:
        raise LesionflowError(f"{model} has no {wanted if not wanted.isdigit() else f'version {wanted}'}: {versions.HOW_TO_REGISTER}")
    warnings = (promotion.unrecorded_move_warning(moved),) if moved else ()
    return FoundVersion(model, str(version.version), fetch(version), warnings)
