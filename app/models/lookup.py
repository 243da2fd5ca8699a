"""Finds the version that answers, without MLflow where the project's own store tells it."""

from dataclasses import dataclass
from pathlib import Path

from components.core.errors import LesionflowError
from components.registry.local_versions import find_local_version
from components.tracking import store


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


def find_version(model: str, wanted: str) -> FoundVersion:
    """Find a version by an alias or a number.

    Raises:
        LesionflowError: it does not exist, or MLflow does not answer.
    """
    local = find_local_version(store.store_uri(), model, wanted)
    return FoundVersion(model, local.number, local.folder) if local else _ask_mlflow(model, wanted)


def _ask_mlflow(model: str, wanted: str) -> FoundVersion:
    from components.registry import promotion, versions
    from components.serving import loading

    client = store.connect()
    with store.mlflow_errors("MLflow's registry did not answer"):
        noticed = promotion.read_champion_state(client, model).noticed
        version = versions.find_version(client, model, wanted)
    if version is None:
        raise LesionflowError(f"{model} has no {wanted if not wanted.isdigit() else f'version {wanted}'}: {versions.HOW_TO_REGISTER}")
    warnings = (promotion.external_move_warning(noticed),) if noticed else ()
    return FoundVersion(model, str(version.version), loading.download(version), warnings)
