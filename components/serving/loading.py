"""Loads a registered version with the code that was logged with it, independent of later changes of the checkout."""

import importlib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.errors import LesionflowError, UnreadableImageError, first_line
from components.serving import packaging
from components.serving.answers import Answer, Contract
from components.serving.older_versions import CODE, ServedModel, load_older

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities.model_registry import ModelVersion

ARTIFACTS = "artifacts"
"""Folder of a logged model with its artifacts."""
PREDICTOR = "serving/predictor.py"
"""Module of a version's own code that predicts without TensorFlow; versions of older releases lack it."""


@dataclass(frozen=True)
class ServedPredictor:
    """The predictor of a version, which its own code made. Not for several threads at once: each thread needs its own.

    Attributes:
        predictor: the version's own `Predictor`.
        unreadable: what it raises for bytes that are not a supported image.
        contract: what its candidate.json promises.
        warning: what people should know of an older version; None.
    """

    predictor: Any
    unreadable: type[Exception]
    contract: Contract
    warning: str | None = None

    def for_another_thread(self) -> "ServedPredictor | None":
        """A predictor that may work at the same time, as `Predictor.for_another_thread`; None if the version's code cannot make one."""
        if not hasattr(self.predictor, "for_another_thread"):
            return None
        return replace(self, predictor=self.predictor.for_another_thread())

    def predict(self, content: bytes) -> Answer:
        """Answer about an image, as `Predictor.predict`."""
        return self.predict_lesion([content])

    def predict_lesion(self, contents: Sequence[bytes]) -> Answer:
        """Answer about one lesion, as `Predictor.predict_lesion`."""
        try:
            found = self.predictor.predict_lesion(contents)
        except self.unreadable as fault:
            raise UnreadableImageError(str(fault)) from None
        return Answer(**{field.name: getattr(found, field.name) for field in fields(Answer) if hasattr(found, field.name)})

    def answers(self, contents: Iterable[bytes]) -> "tuple[pd.DataFrame, dict[int, str]]":
        """Predict images, given as bytes.

        Returns:
            One row for each readable image, in order, indexed by its number: the named diagnosis and the probabilities; and the reason
            for each unreadable image, by number.
        """
        import pandas as pd

        rows: dict[int, dict[str, Any]] = {}
        reasons: dict[int, str] = {}
        for number, content in enumerate(contents):
            try:
                found = self.predict(content)
            except UnreadableImageError as fault:
                reasons[number] = str(fault)
            else:
                rows[number] = {"diagnosis": found.diagnosis, **found.probabilities}
        return pd.DataFrame.from_dict(rows, orient="index"), reasons


def load_version(version: "ModelVersion", threads: int = 1) -> ServedPredictor | ServedModel:
    """Load a registered version with its own code.

    Args:
        version: of the registered model.
        threads: that one image is computed on.

    Raises:
        LesionflowError: MLflow does not respond, or the version's files are missing or damaged.
    """
    return load_folder(download(version), f"version {version.version} of {version.name}", threads)


def download(version: "ModelVersion", target: Path | None = None) -> Path:
    """The folder of a version's logged model, on this machine.

    Args:
        version: of the registered model.
        target: an existing folder that it is copied to; without one, it may be where the store has it.

    Raises:
        LesionflowError: MLflow does not respond, or the version's files are missing.
    """
    import mlflow

    from components.tracking.store import mlflow_errors

    what = f"version {version.version} of {version.name} cannot be loaded"
    try:
        with mlflow_errors(what):
            return Path(mlflow.artifacts.download_artifacts(f"models:/{version.name}/{version.version}", dst_path=target and str(target)))
    except (OSError, ValueError) as fault:
        raise LesionflowError(f"{what}: {first_line(fault)}") from None


def load_folder(folder: Path, name: str = "the version", threads: int = 1) -> ServedPredictor | ServedModel:
    """Load a logged model from its folder, like `load_version`; `name` is what messages call it."""
    code = next((folder / CODE).glob(f"{packaging.PREFIX}*/{PREDICTOR}"), None)
    try:
        if code is not None:
            return _load_predictor(folder / ARTIFACTS, code.parents[1], threads)
        from components.tracking.store import mlflow_errors

        with mlflow_errors(f"{name} cannot be loaded"):
            return load_older(folder)
    except (OSError, ValueError) as fault:
        raise LesionflowError(f"{name} cannot be loaded: {first_line(fault)}") from None


def _load_predictor(artifacts: Path, package: Path, threads: int) -> ServedPredictor:
    """Load the version's predictor with its own code, whose package's name contains its hash."""
    path = sys.path
    sys.path = [str(package.parent), *path]
    try:
        predictor = importlib.import_module(f"{package.name}.serving.predictor")
        errors = importlib.import_module(f"{package.name}.core.errors")
    finally:
        sys.path = path
    try:
        found = predictor.Predictor.of_folder(artifacts, threads)
    except errors.LesionflowError as fault:
        raise LesionflowError(str(fault)) from None
    return ServedPredictor(found, errors.UnreadableImageError, found.contract)
