"""The training images that are nearest to an image: similar cases, and whether there are any.

Distances are cosine distances of the pooled features, divided by their length; an image is unlike anything in training if its k-th nearest
lesion is far (Sun et al. 2022, Out-of-distribution detection with deep nearest neighbors). Rows are stored as float16 and searched as
float32. No other row of a lesion than its nearest counts, so that many pictures of one lesion are not many cases.
"""

import io
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.core.reports.index_contents import Cases, IndexContents
from components.serving.answers import SimilarCase

CONTENTS, FEATURES, CASES, THUMBNAILS = "index.json", "features.npy", "cases.json", "thumbnails"
"""Files and folder of an index."""
Read = Callable[[str], bytes]
"""A function from a file's name in the folder of an index to its bytes."""


@dataclass(frozen=True)
class Neighbours:
    """What training says about an image.

    Attributes:
        similar: nearest cases, the nearest first, at most one of each lesion.
        counts: how many of them have each diagnosis, the most frequent first.
        distance: of the lesion that tells whether the image is unlike anything in training.
        unlike_training: whether it is; never of an image that was in training.
        in_training: whether the image itself was among the training images.
    """

    similar: tuple[SimilarCase, ...]
    counts: dict[str, int]
    distance: float
    unlike_training: bool
    in_training: bool


class Index:
    """The features of the training images, for searching. May be shared by threads.

    Args:
        contents: index.json.
        features: float (n, width), one row for each training image.
        cases: their cases.

    Raises:
        ValueError: there is not one case for each row.
    """

    def __init__(self, contents: IndexContents, features: NDArray[np.floating], cases: Cases) -> None:
        if not len(features) == len(cases.key) == len(cases.diagnosis) == len(cases.origin) == len(cases.thumbnail):
            raise ValueError("an index needs one case for each row of features")
        self.contents = contents
        self.cases = cases
        self._rows, self._keys = unit_length(features), np.array(cases.key)

    @classmethod
    def load(cls, read: Read) -> "Index":
        """Load an index.

        Args:
            read: a function from a file's name in its folder to its bytes.

        Raises:
            LesionflowError: a file is not valid.
        """
        contents = IndexContents.parse(read(CONTENTS), CONTENTS)
        features = np.load(io.BytesIO(read(FEATURES)), allow_pickle=False)
        return cls(contents, features, Cases.parse(read(CASES), CASES))

    def search(self, features: NDArray[np.floating]) -> Neighbours:
        """Search what is nearest to the features of an image, shape (width,)."""
        novelty = self.contents.novelty
        rows, distances = self.nearest_lesions(features, max(self.contents.similar_cases, novelty.lesion))
        similar = tuple(self._case(int(row), float(distance)) for row, distance in zip(rows, distances, strict=True))
        similar = similar[: self.contents.similar_cases]
        distance = float(distances[min(novelty.lesion, len(distances)) - 1])
        in_training = bool(distances[0] <= self.contents.same_picture_distance)
        return Neighbours(
            similar=similar,
            counts=dict(Counter(case.diagnosis for case in similar).most_common()),
            distance=distance,
            unlike_training=novelty.threshold is not None and distance > novelty.threshold and not in_training,
            in_training=in_training,
        )

    def nearest_lesions(self, features: NDArray[np.floating], count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The nearest row of each of the nearest lesions, nearest first, and their cosine distances from the features, shape (width,)."""
        distances = np.maximum(0, 1 - self._rows @ unit_length(features[None])[0])
        order = np.argsort(distances, kind="stable")
        _, first = np.unique(self._keys[order], return_index=True)
        rows = order[np.sort(first)[:count]]
        return rows, distances[rows]

    def _case(self, row: int, distance: float) -> SimilarCase:
        origin = self.cases.origins[self.cases.origin[row]]
        return SimilarCase(
            diagnosis=self.cases.diagnoses[self.cases.diagnosis[row]],
            collection=origin.collection or "",
            distance=distance,
            license=origin.license or "",
            attribution=origin.attribution or "",
            thumbnail=row if self.cases.thumbnail[row] else None,
        )


def write(folder: Path, contents: IndexContents, features: NDArray[np.float16], cases: Cases) -> None:
    """Write index.json, features.npy and cases.json to the folder."""
    contents.write(folder / CONTENTS)
    np.save(folder / FEATURES, features, allow_pickle=False)
    cases.write(folder / CASES)


def unit_length(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """The features, shape (n, width), divided by their Euclidean length; zeros stay zeros."""
    rows = features.astype(np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1))


def thumbnail_name(row: int) -> str:
    """Name of the thumbnail of a case in the folder of an index."""
    return f"{THUMBNAILS}/{row}.jpg"
