"""Sorts the files of a source by what they are: images, tables, licenses, and files that an import leaves out, with the reason."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import PurePosixPath

from app.data.archives import ARCHIVES, Member
from app.data.conversion import CONVERTED, OPTIONAL, PACKAGES, RENAMED, is_installed
from app.data.forms.definitions import forms
from app.system_files import is_system_file
from components.imaging.images import SUFFIXES

METADATA, ATTRIBUTION = "metadata.csv", "attribution.txt"
LICENSES = "licenses"
LICENSE_FILES = frozenset({"license", "license.txt", "license.md", "licence", "licence.txt"})
TABLES = (".csv", ".tab", ".tsv")
IMAGES = (*SUFFIXES, *CONVERTED, *RENAMED, *OPTIONAL)
"""Suffixes of images that an import reads, with the optional packages."""
MASK = re.compile(r"_segmentation$|_mask|superpixels|^imd\d+_(lesion|roi\d*)$")
MASK_FOLDER = re.compile(r"masks?|segmentations?|superpixels|imd\d+_(lesion|roi)")
UNFINISHED = (".part", ".partial", ".crdownload", ".download", ".opdownload")
TO_PNG = "convert them to PNG"
FORMATS = {
    ".gif": ("GIF", TO_PNG),
    ".jp2": ("JPEG 2000", TO_PNG),
}
"""Name of each format that an import cannot read, and what to do with its files, by suffix."""
COPIES = "copies of files in a folder whose name differs only in case"
SYSTEM, MASKS, INCOMPLETE, OTHER = "files of an operating system or a network drive", "masks", "unfinished downloads", "not images"


@dataclass
class SortedMembers:
    """The names of a source's files by kind."""

    images: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    attributions: list[str] = field(default_factory=list)
    licenses: list[str] = field(default_factory=list)
    archives: list[str] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Files that are not imported, by reason."""

    def leave_out(self, reasons: Mapping[str, Iterable[str]]) -> None:
        """Leave out images, by reason."""
        for reason, names in reasons.items():
            self.left_out[reason] += names
        gone = {name for names in reasons.values() for name in names}
        self.images = [name for name in self.images if name not in gone]


@lru_cache(maxsize=2**17)
def parts_of(name: str) -> tuple[str, ...]:
    """Folders and file name of a member."""
    return PurePosixPath(name.replace("\\", "/")).parts


def find_copies(members: Iterable[Member]) -> set[str]:
    """Names of the files that are copies of others in a folder whose name differs only in case."""
    first: dict[str, Member] = {}
    return {member.name for member in members if member.is_copy_of(first.setdefault(member.name.casefold(), member))}


def sort_members(names: Iterable[str]) -> SortedMembers:
    """Sort the names of a source's files by kind."""
    found = SortedMembers()
    kinds = {
        "image": found.images,
        "table": found.tables,
        "attribution": found.attributions,
        "license": found.licenses,
        "archive": found.archives,
    }
    for name in names:
        kind = _kind(parts_of(name))
        (kinds[kind] if kind in kinds else found.left_out[kind]).append(name)
    return found


def _kind(parts: tuple[str, ...]) -> str:
    """Kind of a file, or the reason to leave it out."""
    if is_system_file(parts):
        return SYSTEM
    name, folders = parts[-1].lower(), [part.lower() for part in parts[:-1]]
    suffix = PurePosixPath(name).suffix
    if (folders and folders[-1] == LICENSES) or name in LICENSE_FILES:
        return "license"
    if name == ATTRIBUTION:
        return "attribution"
    if name.endswith(UNFINISHED):
        return INCOMPLETE
    if suffix in OPTIONAL and not is_installed(OPTIONAL[suffix]):
        package = PACKAGES[OPTIONAL[suffix]]
        return f"{OPTIONAL[suffix]} images (run `pip install {package}`, or export them as PNG or JPEG, and import again)"
    if suffix in IMAGES:
        return MASKS if MASK.search(PurePosixPath(name).stem) or any(map(MASK_FOLDER.fullmatch, folders)) else "image"
    if suffix in TABLES or name in _table_files():
        return "table"
    if suffix in ARCHIVES:
        return "archive"
    return "{} images ({} and import again)".format(*FORMATS[suffix]) if suffix in FORMATS else OTHER


@cache
def _table_files() -> frozenset[str]:
    return frozenset(name.lower() for form in forms().values() for name in form.table_files)
