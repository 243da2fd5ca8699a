"""A registered version measured again on labelled images of data/, which must be the very images that were meant."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from components import images
from components.classes import output_names
from components.errors import LesionflowError, UnreadableImage
from components.paths import DATA
from components.scores import Scored
from components.stage import load_tensorflow

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

BATCH = 64


def measure(version: "ModelVersion", wanted: pd.DataFrame, task: str, data_md5: str) -> Scored:
    """A version's probabilities on images that are in data/.

    Args:
        version: of the registered model.
        wanted: a row per image: path under data/, pixels_sha256, diagnosis, group.
        task: the version's.
        data_md5: the dataset these images belong to, for the message.

    Raises:
        LesionflowError: an image is not in data/, or shows something else; or the model cannot be loaded.
    """
    check_in_data(wanted, data_md5)
    found = predict(_load(version), ((DATA / path).read_bytes() for path in wanted["path"]))
    return Scored(wanted.reset_index(drop=True), found[list(output_names(task))].to_numpy(dtype=float), task)


def check_in_data(wanted: pd.DataFrame, data_md5: str) -> None:
    """See that data/ holds these images, pixel for pixel.

    Raises:
        LesionflowError: it does not; names the dataset that does.
    """
    strange = [str(path) for path, pixels in zip(wanted["path"], wanted["pixels_sha256"], strict=True) if _pixels(DATA / path) != pixels]
    if strange:
        raise LesionflowError(
            f"{len(strange)} of {len(wanted)} test images are not in data/ as they were measured (the first: {DATA / strange[0]}):"
            f" they belong to dataset md5 {data_md5}. Bring it back: `git log -S {data_md5} -- data.dvc` finds the commit, then"
            " `git checkout COMMIT -- data.dvc && dvc pull data.dvc`"
        )


def _pixels(path: Path) -> str | None:
    try:
        return images.pixels_sha256(images.decode(path.read_bytes()))
    except (FileNotFoundError, NotADirectoryError, UnreadableImage):
        return None


def predict(served: Any, contents: Iterable[bytes]) -> pd.DataFrame:
    """What a loaded version answers to images, given as bytes: a row for each, in order. Few are in memory at once."""
    images_left = iter(contents)
    batches = iter(lambda: list(islice(images_left, BATCH)), [])
    return pd.concat([served.predict(pd.DataFrame({"image": batch})) for batch in batches], ignore_index=True)


def _load(version: "ModelVersion") -> Any:
    import mlflow
    from mlflow.exceptions import MlflowException

    load_tensorflow()
    try:
        return mlflow.pyfunc.load_model(f"models:/{version.name}/{version.version}")
    except (MlflowException, OSError) as fault:
        raise LesionflowError(f"version {version.version} of {version.name} cannot be loaded: {str(fault).splitlines()[0]}") from None
