"""Bring a dataset into data/ and have DVC version it; an interrupted import leaves the old dataset in place, and carries on when
it is started again."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import pandas as pd
from tqdm import tqdm

from app.sources import ARCHIVES, Member, Source, open_source, unpacking
from components.classes import CLASSES, class_of_folder
from components.errors import LesionflowError
from components.images import SUFFIXES
from components.paths import DATA, DATA_POINTER
from components.settings import ImportLimits, load

METADATA = "metadata.csv"
COMPANIONS = (METADATA, "attribution.txt")
LICENSES = "licenses"
SIDES = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}
STAGING = Path(".data.importing")
PREVIOUS = STAGING / "previous"
CHUNK = 2**20


def plan(members: list[Member]) -> tuple[dict[str, str], list[str]]:
    """Where each member goes within data/, and the names of those that go nowhere.

    An image goes to <class>/<file name>, its class being that of the nearest parent folder that names one. Where two
    members would meet (Train/ and Test/ hold the same name), the later one takes its parents' names along.

    Raises:
        LesionflowError: two members would still meet, on a file system that does not tell case or accents' encodings apart.
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
        if _folded(target) in taken:
            others = "_".join(part for part in path.parts[:-1] if class_of_folder(part) is None)
            target = f"{PurePosixPath(target).parent}/{others}_{path.name}".replace(" ", "_")
        if _folded(target) in taken:
            raise LesionflowError(f"two files would both become {DATA}/{target}; one of them is {member.name!r}: rename one")
        taken.add(_folded(target))
        targets[member.name] = target
    return targets, left


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _target(path: PurePosixPath) -> str | None:
    if path.name.startswith(".") or path.name in ("", "..") or "__MACOSX" in path.parts:
        return None
    if path.name in COMPANIONS:
        return path.name
    if len(path.parts) > 1 and path.parts[-2].lower() == LICENSES:
        return f"{LICENSES}/{path.name}"
    folders = (class_of_folder(part) for part in reversed(path.parts[:-1]))
    diagnosis = next((found for found in folders if found), None)
    return f"{diagnosis}/{path.name}" if diagnosis and path.suffix.lower() in SUFFIXES else None


def given_side(name: str) -> str | None:
    """The side of a split that a member's folders name, or None."""
    folders = PurePosixPath(name.replace("\\", "/")).parts[:-1]
    return next((SIDES[part.lower()] for part in reversed(folders) if part.lower() in SIDES), None)


def import_dataset(source: Path, limits: ImportLimits | None = None) -> Iterator[str]:
    """Import a folder, a zip or a tar as the dataset; yields what a person wants to know.

    Args:
        source: the folder or archive.
        limits: what it may hold; those of params.yaml where None.

    Raises:
        LesionflowError: the source is hostile or broken or holds no image in a class folder, or the present dataset is not safe in
            git and DVC. Nothing was changed.
    """
    require_safe_previous()
    opened = open_source(source, limits or load().importing)
    members = opened.members()
    targets, left = plan(members)
    counts = Counter(target.split("/")[0] for target in targets.values() if target.split("/")[0] in CLASSES)
    nested = [name for name in left if name.lower().endswith(ARCHIVES)]
    if nested:
        raise LesionflowError(f"{source} holds an archive, {nested[0]!r}: unpack it, then import the folder")
    if not counts:
        raise LesionflowError(f"{source} holds no image in a folder named after one of the nine classes: {', '.join(CLASSES)}")
    sizes = {member.name: member.size for member in members}
    with staged(source) as draft:
        fetch(opened, targets, sizes, draft)
        _rewrite_metadata(draft / METADATA, targets)
    columns = _columns(DATA / METADATA)
    yield from added(counts, columns)
    if left:
        yield f"left out {len(left)} files that are no image in a class folder, first {left[0]!r}"
    if "lesion_id" not in columns:
        yield f"no lesion_id in {METADATA}: each image counts as its own lesion until a near-duplicate says otherwise"
    yield from afterwards()


def fetch(opened: Source, targets: Mapping[str, str], sizes: Mapping[str, int], draft: Path) -> None:
    """Copy members to where they go; what an interrupted import has brought already is not copied again.

    Raises:
        LesionflowError: a member holds more or fewer bytes than it says.
    """
    wanted = [name for name, target in targets.items() if not (draft / target).is_file()]
    with tqdm(total=len(targets), initial=len(targets) - len(wanted), desc="importing", unit="file", mininterval=1) as bar:
        for name, stream in opened.contents(wanted):
            target = draft / targets[name]
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{hashlib.sha256(name.encode()).hexdigest()[:16]}.partial")
            written = 0
            with partial.open("wb") as copy, unpacking(opened.path, name):
                while chunk := stream.read(CHUNK):
                    written += len(chunk)
                    if written > sizes[name]:
                        break
                    copy.write(chunk)
            if written != sizes[name]:
                raise LesionflowError(f"{opened.path}: {name!r} does not hold the {sizes[name]} bytes it says; nothing was imported")
            partial.replace(target)
            bar.update()


@contextmanager
def staged(source: Path) -> Iterator[Path]:
    """A folder beside data/ that takes data/'s place when the block ends well, and is then put under DVC.

    An import that is interrupted finds its folder again, by its source's name, size and time; one that fails leaves nothing.
    """
    stat = source.stat()
    identity = f"{source.resolve()} {stat.st_size} {stat.st_mtime_ns}"
    draft = STAGING / hashlib.sha256(identity.encode()).hexdigest()[:16]
    if PREVIOUS.exists() and not DATA.exists():  # killed between the two renames below
        PREVIOUS.replace(DATA)
    for other in STAGING.glob("*"):
        if other != draft:
            shutil.rmtree(other)
    draft.mkdir(parents=True, exist_ok=True)
    for partial in draft.rglob(".*.partial"):
        partial.unlink()
    try:
        yield draft
    except Exception:
        shutil.rmtree(STAGING)
        raise
    if DATA.exists():
        DATA.replace(PREVIOUS)
    draft.replace(DATA)
    shutil.rmtree(STAGING)
    dvc("add", str(DATA))


def added(counts: Mapping[str, int], columns: list[str]) -> Iterator[str]:
    """What came of it, in lines."""
    yield f"imported {sum(counts.values())} files in {len(counts)} of {len(CLASSES)} classes:"
    yield from (f"  {name:<28} {counts.get(name, 0):>6}" for name in CLASSES)
    if "given_side" in columns:
        yield f"Train/ and Test/ were joined: the split is made anew; {METADATA} keeps each image's side in given_side"


def afterwards() -> Iterator[str]:
    """What a person does next."""
    yield f"next: git add {DATA_POINTER} && git commit, then dvc repro"
    yield f"the previous dataset: git checkout REV {DATA_POINTER} && dvc checkout {DATA_POINTER}"


def _columns(path: Path) -> list[str]:
    return list(pd.read_csv(path, dtype=str, nrows=0).columns) if path.exists() else []


def _rewrite_metadata(path: Path, targets: Mapping[str, str]) -> None:
    """Let metadata.csv's filenames follow their files to where these went, and note the sides of a given split."""
    images = {name: target for name, target in targets.items() if target.split("/")[0] in CLASSES}
    sides = {target: side for name, target in images.items() if (side := given_side(name))}
    try:
        table = pd.read_csv(path, dtype=str) if path.exists() else pd.DataFrame({"filename": list(images.values())} if sides else {})
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as fault:
        raise LesionflowError(f"the source's {METADATA} is not a CSV table: {fault}; nothing was imported") from None
    if "filename" not in table:
        return
    ends = Counter(_end(name) for name in images)
    moved = {_end(name): target for name, target in images.items() if ends[_end(name)] == 1}
    table["filename"] = [moved.get(_end(str(name)), name) for name in table["filename"]]
    if sides:
        table = pd.concat([table, pd.DataFrame({"filename": [name for name in sides if name not in set(table["filename"])]})])
        table["given_side"] = table["filename"].map(sides)
    table.to_csv(path, index=False)


def _end(name: str) -> tuple[str, ...]:
    return PurePosixPath(name.replace("\\", "/")).parts[-2:]


def require_safe_previous() -> None:
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
    if DATA.exists() and json.loads(dvc("status", "--json", str(DATA_POINTER))):
        raise LesionflowError(
            f"{DATA}/ has changes that DVC does not know: `dvc add {DATA}` and commit keep them, `dvc checkout {DATA_POINTER}` drops them"
        )


def dvc(*command: str) -> str:
    """Run DVC and return what it prints.

    Raises:
        LesionflowError: it fails, with what it says.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *command], capture_output=True, text=True, env={**os.environ, "PATH": path}, check=False
    )
    if done.returncode != 0:
        raise LesionflowError(f"dvc {command[0]} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout
