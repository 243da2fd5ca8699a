"""Indexes of made training images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from components.core.reports.index_contents import Cases, ImageLimits, IndexContents, Novelty, Origin
from components.serving import activation, neighbours
from components.serving.activation import Head
from components.serving.contents import FILE, write_digests
from components.serving.neighbours import Index

LIMITS = ImageLimits(max_dominant_color_fraction=0.4, min_contrast=3, min_side=32)
"""As in params.yaml."""


def index(
    features: np.ndarray,
    keys: Sequence[int] | None = None,
    diagnoses: Sequence[str] = ("nevus",),
    lesion: int = 10,
    threshold: float | None = 0.5,
    pictured: bool = False,
) -> Index:
    """An index of rows of features; without keys, each is a lesion of its own; diagnoses take turns; `pictured`: all have
    thumbnails."""
    count = len(features)
    cases = Cases(
        diagnosis=tuple(number % len(diagnoses) for number in range(count)),
        diagnoses=tuple(diagnoses),
        key=tuple(range(count) if keys is None else map(int, keys)),
        origin=(0,) * count,
        origins=(Origin(collection="HAM10000", license="CC BY-NC 4.0"),),
        thumbnail=(pictured,) * count,
    )
    novelty = Novelty(calibration_images=100, lesion=lesion, max_share=0.02, threshold=threshold)
    contents = IndexContents(image_limits=LIMITS, novelty=novelty, same_picture_distance=2e-5, similar_cases=16)
    return Index(contents, features.astype(np.float16), cases)


def write(folder: Path, made: Index, features: np.ndarray) -> None:
    """Write the index of these features."""
    neighbours.write(folder, made.contents, features.astype(np.float16), made.cases)


def add_index(version: Path, made: Index, features: np.ndarray, head: Head) -> Path:
    """Add the index of these features and a head to the folder of a version, and list them in sha256.json; return the version's folder."""
    folder = version / "index"
    (folder / neighbours.THUMBNAILS).mkdir(parents=True)
    write(folder, made, features)
    (folder / activation.FILE).write_bytes(head.to_bytes())
    for row, has_thumbnail in enumerate(made.cases.thumbnail):
        if has_thumbnail:
            (folder / neighbours.thumbnail_name(row)).write_bytes(f"thumbnail {row}".encode())
    write_digests(version / FILE, {part: version / part for part in ("candidate", "export", "index")})
    return version
