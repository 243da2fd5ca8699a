"""Diagnoses of images from the folders that they are in."""

import re
from collections.abc import Callable, Iterable, Sequence

from app.data.members import LICENSES, parts_of
from components.data_quality.label_definitions import LabelDefinition, fold

# fmt: off
STRUCTURAL = frozenset({
    "train", "training", "test", "testing", "val", "valid", "validation", "images", "image", "img", "imgs", "photos", "photo",
    "photographs", "pictures", "pics", "raw", "data", "dataset", "datasets", "input", "inputs", "output", "jpg", "jpeg", "png",
    "dermoscopy", "dermoscopic", "clinical", "original", "originals", "resized", "files", "all",
})
# fmt: on
"""Folded names of folders that say nothing about a diagnosis."""
STRUCTURAL_PATTERN = re.compile(
    r"(\w+_)?(part|batch|fold|chunk|volume|disk)_?\d+|\w+_(images|input|groundtruth|ground_truth|metadata)|\d+x\d+"
)


def is_structural(folder: str) -> bool:
    """Whether a folder's name says nothing about a diagnosis: Train, images, HAM10000_images_part_1."""
    name = fold(folder)
    return not name or name == LICENSES or name in STRUCTURAL or STRUCTURAL_PATTERN.fullmatch(name) is not None


def knows(definitions: Iterable[LabelDefinition]) -> Callable[[str], bool]:
    """A function that tells whether any of the label sets has or excludes a diagnosis."""
    entries = [(entry, {fold(name) for name in entry.excluded}) for entry in definitions]
    answers: dict[str, bool] = {}

    def known(diagnosis: str) -> bool:
        if diagnosis not in answers:
            answers[diagnosis] = any(entry.class_of(diagnosis) or fold(diagnosis) in excluded for entry, excluded in entries)
        return answers[diagnosis]

    return known


def common_folders(names: Iterable[str]) -> int:
    """Number of folders that all files have in common, from the top."""
    paths = [parts_of(name)[:-1] for name in names]
    first, last = min(paths, default=()), max(paths, default=())
    return next((level for level, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), min(len(first), len(last)))


def folder_of_diagnosis(folders: Sequence[str], known: Callable[[str], bool], shared: int) -> str | None:
    """The folder that names an image's diagnosis, or None.

    It is the nearest folder that is not structural. If no label set knows it, it is the nearest one above that a label set knows: a
    patient's folder within a diagnosis. A folder that contains the whole source is never taken in place of the image's own folder, since
    it names the source.

    Args:
        folders: the image's folders, from the top.
        known: whether a label set knows a diagnosis.
        shared: number of the top folders that contain all images.
    """
    named = [(level, folder) for level, folder in enumerate(folders) if not is_structural(folder)]
    if not named:
        return None
    above = [folder for level, folder in named[:-1] if level >= shared and known(folder)]
    own = named[-1][1]
    return above[-1] if above and not known(own) else own


def diagnoses_of_folders(names: Sequence[str], known: Callable[[str], bool], within: int = 0) -> dict[str, str]:
    """Diagnosis of each image by its folders; images without one are left out.

    Args:
        names: the images.
        known: whether a label set knows a diagnosis.
        within: number of top folders that are not looked at.
    """
    shared = common_folders(names) - within
    found: dict[tuple[str, ...], str | None] = {}
    diagnoses = {}
    for name in names:
        folders = parts_of(name)[within:-1]
        if folders not in found:
            found[folders] = folder_of_diagnosis(folders, known, shared)
        if diagnosis := found[folders]:
            diagnoses[name] = diagnosis
    return diagnoses
