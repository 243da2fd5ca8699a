"""Evaluate a registered version again on labeled images in data/, after checking that their pixels are unchanged."""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from components.core.errors import LesionflowError, UnreadableImageError
from components.core.label_set import LabelSet
from components.core.paths import CATALOG, DATA
from components.evaluation.predictions import Predictions
from components.imaging import images
from components.serving import loading

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


def reevaluate(version: "ModelVersion", test_images: pd.DataFrame, labels: LabelSet, data_md5: str) -> Predictions:
    """Predict images in data/ with a registered version.

    Args:
        version: a version of the registered model.
        test_images: one row per image: path in data/, pixels_sha256, diagnosis, group.
        labels: the label set of the version.
        data_md5: the dataset of these images, for the error message.

    Raises:
        LesionflowError: an image is missing in data/ or has other pixels, or the model cannot be loaded or cannot read an image.
    """
    require_same_images(test_images, data_md5)
    served = loading.load_version(version, threads=os.cpu_count() or 1)
    answers, unreadable = served.answers((DATA / path).read_bytes() for path in test_images["path"])
    if unreadable:
        number, reason = min(unreadable.items())
        raise LesionflowError(
            f"version {version.version} of {version.name} cannot read {len(unreadable)} of {len(test_images)} test images"
            f" (the first: {DATA / test_images['path'].iloc[number]}: {reason})"
        )
    named = np.array(labels.encode(answers["diagnosis"]), dtype=np.int64)
    return Predictions(test_images.reset_index(drop=True), answers[list(labels.outputs)].to_numpy(dtype=float), labels, named)


def require_same_images(test_images: pd.DataFrame, data_md5: str) -> None:
    """Check that data/ contains these images with identical pixels.

    Raises:
        LesionflowError: it does not; the message names the dataset that does.
    """
    pixels_by_file = _pixels_by_file_hash()
    missing = [
        str(path)
        for path, pixels_hash in zip(test_images["path"], test_images["pixels_sha256"], strict=True)
        if not _has_pixels(DATA / path, pixels_hash, pixels_by_file)
    ]
    if missing:
        raise LesionflowError(
            f"{len(missing)} of {len(test_images)} test images are not in data/ as they were measured (the first: {DATA / missing[0]}):"
            f" they belong to dataset md5 {data_md5}. Bring it back: `git log -S {data_md5} -- data.dvc` finds the commit, then"
            " `git checkout COMMIT -- data.dvc && dvc pull data.dvc`"
        )


def _pixels_by_file_hash() -> dict[str, str]:
    """Map the sha256 of each file to its pixels_sha256 as written by `validate`, so that known files need not be decoded."""
    if not CATALOG.exists():
        return {}
    catalog = pd.read_parquet(CATALOG, columns=["sha256", "pixels_sha256"])
    return dict(zip(catalog["sha256"], catalog["pixels_sha256"], strict=True))


def _has_pixels(path: Path, pixels_sha256: str, pixels_by_file: dict[str, str]) -> bool:
    try:
        content = path.read_bytes()
        if pixels_by_file.get(hashlib.sha256(content).hexdigest()) == pixels_sha256:
            return True
        return images.pixels_sha256(images.decode(content)) == pixels_sha256
    except (FileNotFoundError, NotADirectoryError, UnreadableImageError):
        return False
