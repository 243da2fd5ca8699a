"""A registered version measured again on labelled images of data/, which must be the very images that were meant."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from components.core.classes import output_names
from components.core.errors import LesionflowError, UnreadableImageError
from components.core.paths import CATALOG, DATA
from components.evaluation.predictions import Predictions
from components.imaging import images
from components.serving import loading

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


def reevaluate(version: "ModelVersion", wanted: pd.DataFrame, task: str, data_md5: str) -> Predictions:
    """A version's probabilities on images that are in data/.

    Args:
        version: of the registered model.
        wanted: a row per image: path under data/, pixels_sha256, diagnosis, group.
        task: the version's.
        data_md5: the dataset these images belong to, for the message.

    Raises:
        LesionflowError: an image is not in data/, or shows something else; or the model cannot be loaded, or cannot read it.
    """
    require_same_images(wanted, data_md5)
    found, unreadable = loading.load_version(version).answers((DATA / path).read_bytes() for path in wanted["path"])
    if unreadable:
        number, reason = min(unreadable.items())
        raise LesionflowError(
            f"version {version.version} of {version.name} cannot read {len(unreadable)} of {len(wanted)} test images"
            f" (the first: {DATA / wanted['path'].iloc[number]}: {reason})"
        )
    return Predictions(wanted.reset_index(drop=True), found[list(output_names(task))].to_numpy(dtype=float), task)


def require_same_images(wanted: pd.DataFrame, data_md5: str) -> None:
    """See that data/ holds these images, pixel for pixel.

    Raises:
        LesionflowError: it does not; names the dataset that does.
    """
    scanned = _scanned()
    strange = [
        str(path) for path, pixels in zip(wanted["path"], wanted["pixels_sha256"], strict=True) if not _shows(DATA / path, pixels, scanned)
    ]
    if strange:
        raise LesionflowError(
            f"{len(strange)} of {len(wanted)} test images are not in data/ as they were measured (the first: {DATA / strange[0]}):"
            f" they belong to dataset md5 {data_md5}. Bring it back: `git log -S {data_md5} -- data.dvc` finds the commit, then"
            " `git checkout COMMIT -- data.dvc && dvc pull data.dvc`"
        )


def _scanned() -> dict[str, str]:
    """pixels_sha256 of each file's sha256, as `validate` wrote them: files of those bytes need not be decoded to be recognised."""
    if not CATALOG.exists():
        return {}
    catalog = pd.read_parquet(CATALOG, columns=["sha256", "pixels_sha256"])
    return dict(zip(catalog["sha256"], catalog["pixels_sha256"], strict=True))


def _shows(path: Path, pixels_sha256: str, scanned: dict[str, str]) -> bool:
    try:
        content = path.read_bytes()
        if scanned.get(hashlib.sha256(content).hexdigest()) == pixels_sha256:
            return True
        return images.pixels_sha256(images.decode(content)) == pixels_sha256
    except (FileNotFoundError, NotADirectoryError, UnreadableImageError):
        return False
