"""Bring a dataset into data/ and have DVC version it; an interrupted import leaves the old dataset in place."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

import pandas as pd
from tqdm import tqdm

from components.classes import CLASSES, class_of_folder
from components.errors import LesionflowError
from components.files import replacing
from components.paths import DATA, DATA_POINTER

METADATA = "metadata.csv"
COMPANIONS = (METADATA, "attribution.txt")
LICENSES = "licenses"
MAX_FILE_BYTES = 256 * 2**20
"""No dermoscopy image is larger; a member that is, is a mistake or a bomb."""


@dataclass(frozen=True)
class Member:
    """One file of the source: its name there, with forward slashes, and how many bytes it says it has."""

    name: str
    size: int


class Folder:
    """A folder as a source of members."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def members(self) -> list[Member]:
        found = sorted(path for path in self._root.rglob("*") if path.is_file())
        return [Member(path.relative_to(self._root).as_posix(), path.stat().st_size) for path in found]

    def open(self, name: str) -> IO[bytes]:
        return (self._root / name).open("rb")


class Zip:
    """A zip archive as a source of members; only names are taken from it, never paths to write to."""

    def __init__(self, path: Path) -> None:
        try:
            self._archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile as fault:
            raise LesionflowError(f"{path} is no zip archive: {fault}") from None

    def members(self) -> list[Member]:
        return [Member(item.filename, item.file_size) for item in self._archive.infolist() if not item.is_dir()]

    def open(self, name: str) -> IO[bytes]:
        return self._archive.open(name)


def open_source(source: Path) -> Folder | Zip:
    """The source as members.

    Raises:
        LesionflowError: it is neither a folder nor a zip archive.
    """
    if source.is_dir():
        return Folder(source)
    if zipfile.is_zipfile(source):
        return Zip(source)
    raise LesionflowError(f"{source} is neither a folder nor a zip archive")


def plan(members: list[Member]) -> tuple[dict[str, str], list[str]]:
    """Where each member goes within data/, and the names of those that go nowhere.

    An image goes to <class>/<file name>, its class being that of the nearest parent folder that names one. Where two
    members would meet (Train/ and Test/ hold the same name), the later one takes its parents' names along.
    """
    targets: dict[str, str] = {}
    taken: set[str] = set()
    left: list[str] = []
    for member in members:
        path = PurePosixPath(member.name.replace("\\", "/"))
        target = _target(path)
        if target is None:
            left.append(member.name)
            continue
        if target.lower() in taken:
            others = "_".join(part for part in path.parts[:-1] if class_of_folder(part) is None)
            target = f"{PurePosixPath(target).parent}/{others}_{path.name}".replace(" ", "_")
        if target.lower() in taken:
            raise LesionflowError(f"two files would both become {DATA}/{target}; one of them is {member.name!r}: rename one")
        taken.add(target.lower())
        targets[member.name] = target
    return targets, left


def _target(path: PurePosixPath) -> str | None:
    if path.name.startswith(".") or path.name in ("", "..") or "__MACOSX" in path.parts:
        return None
    if path.name in COMPANIONS:
        return path.name
    if len(path.parts) > 1 and path.parts[-2].lower() == LICENSES:
        return f"{LICENSES}/{path.name}"
    folders = (class_of_folder(part) for part in reversed(path.parts[:-1]))
    diagnosis = next((found for found in folders if found), None)
    return f"{diagnosis}/{path.name}" if diagnosis else None


def import_dataset(source: Path) -> Iterator[str]:
    """Import a folder or a zip as the dataset; yields what a person wants to know.

    Raises:
        LesionflowError: the source holds no image in a class folder, or the present dataset is not safe in git and DVC.
    """
    _require_safe_previous()
    opened = open_source(source)
    members = opened.members()
    targets, left = plan(members)
    counts = Counter(target.split("/")[0] for target in targets.values() if target.split("/")[0] in CLASSES)
    if not counts:
        raise LesionflowError(f"{source} holds no image in a folder named after one of the nine classes: {', '.join(CLASSES)}")
    too_large = [member.name for member in members if member.name in targets and member.size > MAX_FILE_BYTES]
    if too_large:
        raise LesionflowError(f"{source}: {too_large[0]} is larger than {MAX_FILE_BYTES // 2**20} MiB; nothing was imported")
    with replacing(DATA) as draft:
        for name, target in tqdm(targets.items(), desc="importing", unit="file", mininterval=1):
            _copy(opened, name, draft / target)
        _rewrite_metadata(draft / METADATA, targets)
    _dvc("add", str(DATA))
    yield f"imported {sum(counts.values())} files in {len(counts)} of {len(CLASSES)} classes:"
    yield from (f"  {name:<28} {counts[name]:>6}" for name in CLASSES)
    if left:
        yield f"left out {len(left)} files in no class folder, first {left[0]!r}"
    if METADATA not in targets.values():
        yield f"no {METADATA}: each image counts as its own lesion until a near-duplicate says otherwise"
    yield f"next: git add {DATA_POINTER} && git commit, then dvc repro"
    yield f"the previous dataset: git checkout REV {DATA_POINTER} && dvc checkout {DATA_POINTER}"


def _copy(opened: Folder | Zip, name: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with opened.open(name) as stream, target.open("wb") as copy:
            shutil.copyfileobj(stream, copy)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as fault:
        raise LesionflowError(f"{name} cannot be read from the archive: {fault}; nothing was imported") from None


def _rewrite_metadata(path: Path, targets: dict[str, str]) -> None:
    """Let metadata.csv's filenames follow their files to where these went."""
    if not path.exists():
        return
    table = pd.read_csv(path, dtype=str)
    if "filename" not in table:
        return
    ends = {tuple(PurePosixPath(name).parts[-2:]): target for name, target in targets.items()}
    moved = [ends.get(tuple(PurePosixPath(str(name)).parts[-2:]), name) for name in table["filename"]]
    if moved != table["filename"].tolist():
        table.assign(filename=moved).to_csv(path, index=False)


def _require_safe_previous() -> None:
    """Refuse where replacing data/ would lose a dataset that neither git nor DVC could bring back."""
    if not DATA_POINTER.exists():
        if DATA.exists():
            raise LesionflowError(f"{DATA}/ is there but not under DVC: `dvc add {DATA}` and commit {DATA_POINTER} first, or move it away")
        return
    changed = subprocess.run(["git", "status", "--porcelain", "--", str(DATA_POINTER)], capture_output=True, text=True, check=True).stdout
    if changed.strip():
        raise LesionflowError(
            f"{DATA_POINTER} names a dataset that git does not know yet: `git add {DATA_POINTER} && git commit` keeps it reachable"
        )
    if DATA.exists() and json.loads(_dvc("status", "--json", str(DATA_POINTER))):
        raise LesionflowError(
            f"{DATA}/ has changes that DVC does not know: `dvc add {DATA}` and commit keep them, `dvc checkout {DATA_POINTER}` drops them"
        )


def _dvc(*command: str) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *command], capture_output=True, text=True, env={**os.environ, "PATH": path}, check=False
    )
    if done.returncode != 0:
        raise LesionflowError(f"dvc {command[0]} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout
