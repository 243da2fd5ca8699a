"""Keeps the images of a dataset's type: dermoscopic images, or clinical photographs where a source has nothing else."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from app.data.forms.definitions import ImageType

COLUMN = "image_type"
DERMOSCOPIC: ImageType = "dermoscopic"
CLINICAL: ImageType = "clinical"


@dataclass(frozen=True)
class ImageTypeChoice:
    """The type of a dataset, its images, and those of other types by reason."""

    image_type: ImageType
    images: list[str]
    left_out: dict[str, list[str]]


def choose_image_type(images: Iterable[str], rows: pd.DataFrame, expected: ImageType, is_given: bool) -> ImageTypeChoice:
    """Keep the images of one type; those of unknown type are kept.

    Args:
        images: the images.
        rows: the joined tables, indexed by image; their column `image_type` is the type that the source gives.
        expected: the type that the form or the user expects.
        is_given: whether the user names the type; otherwise it is clinical if the source has no dermoscopic image.
    """
    types = rows[COLUMN].dropna().to_dict() if COLUMN in rows else {}
    present = {image_kind(value) for value in types.values()}
    chosen = expected
    if not is_given and present:
        chosen = DERMOSCOPIC if DERMOSCOPIC in present else CLINICAL
    kept, left_out = [], defaultdict(list)
    for name in images:
        if name in types and image_kind(types[name]) != chosen:
            left_out[f"images of another type than {chosen}: {types[name]}"].append(name)
        else:
            kept.append(name)
    return ImageTypeChoice(chosen, kept, dict(left_out))


def image_kind(value: str) -> str:
    """`dermoscopic` or `clinical` for a value of the column, otherwise its first word: "clinical: close-up" is clinical."""
    word = value.casefold().split(":")[0].strip()
    return {"dermoscopy": DERMOSCOPIC, "clinical close-up": CLINICAL}.get(word, word)
