"""Finds a registered version and loads it for `lesionflow predict`."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from app.models import predict
from app.models.prediction_rows import RowForm
from components.core.errors import LesionflowError, UnreadableImageError
from components.registry import promotion, versions
from components.serving import loading
from components.serving.answers import Answer, answer
from components.tracking import store


@dataclass
class ServedVersion:
    """A loaded version, as `predict.Version`; `warnings`: what a person should know about it."""

    rows: RowForm
    model: loading.ServedModel
    warnings: list[str] = field(default_factory=list)
    unreadable: tuple[type[Exception], ...] = (UnreadableImageError,)
    threads: int = 1

    def predictor(self) -> "predict.Predictor":
        return ModelOfOlderRelease(self.model)


@dataclass(frozen=True)
class ModelOfOlderRelease:
    """A version that MLflow loads, image by image."""

    model: loading.ServedModel

    def predict(self, content: bytes) -> Answer:
        """Answer about an image, given as bytes."""
        table, reasons = self.model.answers([content])
        if reasons:
            raise UnreadableImageError(reasons[0])
        (row,) = table.to_dict("records")
        return answer(self.model.contract, row.pop("diagnosis"), row)

    def predict_lesion(self, contents: Sequence[bytes]) -> Answer:
        """Refuse: an older version does not combine pictures."""
        raise LesionflowError(f"--lesion: this version was registered by an older release, which cannot combine {len(contents)} pictures")


def load(model: str, wanted: str) -> ServedVersion:
    """Load a version of the registered model.

    Args:
        model: name of the registered model.
        wanted: an alias, as "champion", or a version number.

    Raises:
        LesionflowError: the version does not exist or cannot be loaded, or MLflow does not answer.
    """
    client = store.connect()
    with store.mlflow_errors("MLflow's registry did not answer"):
        noticed = promotion.read_champion_state(client, model).noticed
        version = versions.find_version(client, model, wanted)
    if version is None:
        raise LesionflowError(f"{model} has no {wanted if not wanted.isdigit() else f'version {wanted}'}: {versions.HOW_TO_REGISTER}")
    loaded = loading.load_version(version)
    warnings = [promotion.external_move_warning(noticed)] if noticed else []
    if not loaded.contract.set_thresholds:
        warnings.append(f"version {version.version} was registered by an older release: it has no prediction sets, and it never abstains")
    return ServedVersion(RowForm(model, str(version.version), loaded.contract), loaded, warnings)
