"""Tables of images for tests of the split."""

import hashlib
from collections.abc import Sequence

import pandas as pd

from tests.support.labels import CLASSES


def rows(lesions_per_class: int, images_per_lesion: int, classes: Sequence[str] = CLASSES, first: int = 0) -> pd.DataFrame:
    """One row per image, with a group per lesion; the lesions of each class are numbered from `first`."""
    images = [
        (f"{name}/{lesion}_{image}.jpg", name, f"{name}_{lesion}", pixels(f"{name} {lesion} {image}"))
        for name in classes
        for lesion in range(first, first + lesions_per_class)
        for image in range(images_per_lesion)
    ]
    frame = pd.DataFrame(images, columns=["path", "diagnosis", "lesion_id", "pixels_sha256"])
    return frame.assign(group=frame["lesion_id"], patient_id=None)


def pixels(name: str) -> str:
    """A hash that stands for that of an image's pixels."""
    return hashlib.sha256(name.encode()).hexdigest()
