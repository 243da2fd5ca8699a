"""Assigns each image and license of a source its path in data/."""

import unicodedata
from collections.abc import Collection, Iterable, Mapping
from itertools import count
from pathlib import PurePosixPath

from app.data.conversion import imported_name
from app.data.members import LICENSES, parts_of
from components.core.errors import LesionflowError
from components.core.paths import DATA
from components.data_quality.label_definitions import fold


def assign_targets(folders: Mapping[str, str], licenses: Iterable[str], jpegs: Collection[str] = ()) -> dict[str, str]:
    """Assign each image the path <folder>/<file name>, and each license licenses/<file name>; return them by member. An image that is
    converted gets the suffix of its new format.

    If two members would get the same path (the same name in Train/ and Test/), the parent folders become a prefix of the later one's
    file name. If a converted image would get the same path, its old suffix joins the name: a_tif.png next to a.png.

    Args:
        folders: folder in data/ of each image.
        licenses: names of the licenses.
        jpegs: DICOM files that hold a JPEG.

    Raises:
        LesionflowError: two paths are still equal on a file system that ignores case or Unicode normalization.
    """
    targets: dict[str, str] = {}
    taken: set[str] = set()
    for name, folder in (*folders.items(), *((name, LICENSES) for name in licenses)):
        parts = parts_of(name)
        file = parts[-1] if folder == LICENSES else imported_name(parts[-1], name in jpegs)
        target = f"{folder}/{file}"
        if fold_path(target) in taken and file != parts[-1]:
            target = f"{folder}/{_with_old_suffix(parts[-1], file)}"
        if fold_path(target) in taken:
            others = "_".join(part for part in parts[:-1] if fold(part) != folder)
            target = f"{folder}/{others}_{file}".replace(" ", "_")
        if fold_path(target) in taken:
            raise LesionflowError(f"two files map to the same target {DATA}/{target}; one of them is {name!r}. Rename one of them.")
        taken.add(fold_path(target))
        targets[name] = str(PurePosixPath(target))
    return targets


def place_beside(targets: Mapping[str, str], present: Iterable[str]) -> dict[str, str]:
    """The targets, with a number at the end of each name that data/ has already.

    Args:
        targets: path in data/ of each file that is added, by member.
        present: paths that data/ has.
    """
    taken = {fold_path(path) for path in present}
    placed = {}
    for name, target in targets.items():
        placed[name] = _numbered(target, taken) if fold_path(target) in taken else target
        taken.add(fold_path(placed[name]))
    return placed


def _with_old_suffix(name: str, new: str) -> str:
    path = PurePosixPath(name)
    return f"{path.stem}_{path.suffix[1:]}{PurePosixPath(new).suffix}"


def _numbered(target: str, taken: Collection[str]) -> str:
    path = PurePosixPath(target)
    names = (str(path.with_name(f"{path.stem}_{number}{path.suffix}")) for number in count(2))
    return next(name for name in names if fold_path(name) not in taken)


def fold_path(name: str) -> str:
    """A path as a file system compares it that ignores case and Unicode normalization."""
    return unicodedata.normalize("NFC", name).casefold()
