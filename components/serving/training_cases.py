"""Turns the training images into the cases of an index, which name no path, patient or lesion."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import NDArray

from components.core.reports.index_contents import Cases, Origin

ORIGIN = ["collection", "license", "attribution"]
"""Columns that a case tells of its picture's source."""
LESION = ["patient_id", "lesion_id"]
"""Columns that identify a lesion together."""


def random_of_pixels(images: pd.DataFrame, seed: int) -> Generator:
    """A generator that only those can make again who have all of the images: it is seeded with `seed` and their pixels' hashes.

    So equal images give an equal index, and no key or order of rows tells anything about an image.
    """
    secret = "\n".join([str(seed), *sorted(images["pixels_sha256"])])
    return np.random.default_rng(int.from_bytes(hashlib.sha256(secret.encode()).digest()))


def shuffled(images: pd.DataFrame, random: Generator) -> pd.DataFrame:
    """The images in random order."""
    return images.iloc[random.permutation(len(images))].reset_index(drop=True)


def lesion_keys(images: pd.DataFrame, random: Generator) -> NDArray[np.int64]:
    """A random number for each image, (n,): equal for images of the same lesion of the same patient, and for no others."""
    lesions = pd.factorize(pd.MultiIndex.from_frame(images[LESION].fillna("")))[0]
    return np.asarray(random.permutation(lesions.max() + 1)[lesions], dtype=np.int64)


def make_cases(images: pd.DataFrame, outputs: Sequence[str], pictured: Sequence[str], random: Generator) -> Cases:
    """The cases of the images, in their order.

    Args:
        images: with the columns diagnosis, of LESION and of ORIGIN, null where unknown.
        outputs: of the model, in order.
        pictured: collections whose cases get a thumbnail.
        random: of the keys.
    """
    rows = [tuple(None if pd.isna(value) else str(value) for value in row) for row in images[ORIGIN].itertuples(index=False)]
    origins = sorted(set(rows), key=str)
    return Cases(
        diagnosis=tuple(outputs.index(name) for name in images["diagnosis"]),
        diagnoses=tuple(outputs),
        key=tuple(lesion_keys(images, random).tolist()),
        origin=tuple(origins.index(row) for row in rows),
        origins=tuple(Origin(**dict(zip(ORIGIN, origin, strict=True))) for origin in origins),
        thumbnail=tuple(images["collection"].isin(list(pictured)).tolist()),
    )
