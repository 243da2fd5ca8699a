"""Imports a dataset into data/ and tracks it with DVC. An interrupted import leaves the old dataset in place and resumes when it is
run again."""

import hashlib
import os
import shutil
import subprocess
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from app.data import metadata
from app.data.archives import ARCHIVES, Member, Source, archive_errors, open_source
from app.data.replacement import STAGING, locked, recover_dataset, replace_dataset, require_safe_previous
from components.core.classes import CLASSES, class_of_folder
from components.core.errors import LesionflowError, ServiceUnavailable
from components.core.paths import DATA, DATA_POINTER, UNFINISHED_SWAP
from components.imaging.images import SUFFIXES
from components.runtime.params import ImportLimits
from components.runtime.params_file import load

METADATA, ATTRIBUTION = "metadata.csv", "attribution.txt"
METADATA_FILES = (METADATA, ATTRIBUTION)
LICENSES = "licenses"
UNJOINED = ".companions"
"""Folder of the draft that contains every metadata.csv and attribution.txt of the source until they are joined."""
CHUNK = 2**20


def plan_import(members: list[Member]) -> tuple[dict[str, str], list[str]]:
    """Assign each member a target path within data/; return these and the names of members that are skipped.

    Each metadata.csv and attribution.txt gets its own path in UNJOINED. An image goes to <class>/<file name>, with the class of the
    nearest parent folder that names one. If two members would get the same target (the same name in Train/ and Test/), the parent
    folders become a prefix of the later one's file name.

    Raises:
        LesionflowError: two targets are still equal on a file system that ignores case or Unicode normalization.
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
            raise LesionflowError(f"two files map to the same target {DATA}/{target}; one of them is {member.name!r}. Rename one of them.")
        taken.add(_folded(target))
        targets[member.name] = target
    return targets, left


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _target(path: PurePosixPath) -> str | None:
    if path.name.startswith(".") or path.name in ("", "..") or "__MACOSX" in path.parts:
        return None
    if path.name in METADATA_FILES:
        return f"{UNJOINED}/{hashlib.sha256(str(path).encode()).hexdigest()[:16]}-{path.name}"
    if len(path.parts) > 1 and path.parts[-2].lower() == LICENSES:
        return f"{LICENSES}/{path.name}"
    folders = (class_of_folder(part) for part in reversed(path.parts[:-1]))
    diagnosis = next((found for found in folders if found), None)
    return f"{diagnosis}/{path.name}" if diagnosis and path.suffix.lower() in SUFFIXES else None


def import_dataset(source: Path, limits: ImportLimits | None = None) -> Iterator[str]:
    """Import a folder, a zip or a tar archive as the dataset; yield progress messages.

    Args:
        source: the folder or archive.
        limits: limits of the source; None uses those of params.yaml.

    Raises:
        LesionflowError: the source is unsafe or corrupt or contains no image in a class folder, or the current dataset is not
            committed to git and DVC. Nothing was changed.
    """
    limits = limits or load().importing
    with locked():
        yield from recover_dataset()
        require_safe_previous()
        opened = open_source(source, limits)
        members = opened.members()
        targets, left = plan_import(members)
        nested = [name for name in left if name.lower().endswith(ARCHIVES)]
        if nested:
            raise LesionflowError(f"{source} contains an archive: {nested[0]!r}. Unpack it, then import the folder.")
        if not images_of(targets):
            raise LesionflowError(f"{source} contains no image in a folder named after one of the nine classes: {', '.join(CLASSES)}")
        with staging_folder(source, members) as draft:
            copy_members(opened, targets, {member.name: member.size for member in members}, draft)
            columns = join_metadata(draft, targets)
        yield from import_summary(count_images(DATA), columns)
    if left:
        yield f"skipped {len(left)} files that are not images in a class folder, first {left[0]!r}"
    if "lesion_id" not in columns:
        yield f"no lesion_id in {METADATA}: each image counts as its own lesion unless a near-duplicate links it to another"
    yield from next_steps()


def images_of(targets: Mapping[str, str]) -> dict[str, str]:
    """Select the targets that are images."""
    return {name: target for name, target in targets.items() if target.split("/")[0] in CLASSES}


def count_images(folder: Path) -> Counter[str]:
    """Count the images of a dataset folder by class."""
    return Counter({name: sum(1 for path in (folder / name).iterdir()) for name in CLASSES if (folder / name).is_dir()})


def copy_members(opened: Source, targets: Mapping[str, str], sizes: Mapping[str, int], draft: Path) -> None:
    """Copy the members to the draft and delete everything else from it; files that an interrupted import has copied are kept.

    Raises:
        LesionflowError: a member has more or fewer bytes than declared.
    """
    _sweep(draft, {target: sizes[name] for name, target in targets.items()})
    wanted = [name for name, target in targets.items() if not (draft / target).is_file()]
    with tqdm(total=len(targets), initial=len(targets) - len(wanted), desc="importing", unit="file", mininterval=1) as bar:
        for name, stream in opened.contents(wanted):
            target = draft / targets[name]
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{hashlib.sha256(name.encode()).hexdigest()[:16]}.partial")
            written = 0
            with partial.open("wb") as copy, archive_errors(opened.path, name):
                while chunk := stream.read(CHUNK):
                    written += len(chunk)
                    if written > sizes[name]:
                        break
                    copy.write(chunk)
            if written != sizes[name]:
                raise LesionflowError(
                    f"{opened.path}: {name!r} does not have its declared size of {sizes[name]} bytes; nothing was imported"
                )
            partial.replace(target)
            bar.update()


def _sweep(draft: Path, wanted: Mapping[str, int]) -> None:
    """Delete empty folders and every file of the draft that is not a target or has the wrong size."""
    for path in sorted(draft.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif wanted.get(path.relative_to(draft).as_posix()) != path.lstat().st_size:
            path.unlink()


def join_metadata(draft: Path, targets: Mapping[str, str]) -> list[str]:
    """Join the source's metadata.csv and attribution.txt files into those of the draft; return the columns of metadata.csv.

    Raises:
        LesionflowError: the tables cannot be joined, or do not match the images.
    """
    read = {name: (draft / target).read_bytes() for name, target in targets.items() if target.startswith(f"{UNJOINED}/")}
    parts = {name: metadata.read(content, name) for name, content in read.items() if PurePosixPath(name).name == METADATA}
    table = metadata.join_tables(parts, images_of(targets))
    if table is not None:
        table.to_csv(draft / METADATA, index=False)
    texts = dict.fromkeys(content for name, content in read.items() if PurePosixPath(name).name == ATTRIBUTION)
    if texts:
        (draft / ATTRIBUTION).write_bytes(b"\n".join(texts))
    if read:
        shutil.rmtree(draft / UNJOINED)
    return [] if table is None else list(table.columns)


@contextmanager
def staging_folder(source: Path, members: list[Member]) -> Iterator[Path]:
    """Yield a staging folder that replaces data/, under DVC, when the block ends without an error.

    An import that is interrupted, or stopped because DVC is running, reuses its folder if the source's members have the same names,
    sizes and times. If the import fails, the folder is deleted.
    """
    draft = STAGING / source_identity(source, members)
    draft.mkdir(parents=True, exist_ok=True)
    for other in STAGING.iterdir():
        if other != draft:
            shutil.rmtree(other) if other.is_dir() else other.unlink()
    try:
        yield draft
        replace_dataset(draft, str(source))
    except ServiceUnavailable:
        raise
    except Exception:
        if not UNFINISHED_SWAP.exists():
            shutil.rmtree(STAGING)
        raise


def source_identity(source: Path, members: list[Member]) -> str:
    """Hash of the source's path and of the names, sizes and times of its members."""
    status = source.stat()
    archive = () if source.is_dir() else (status.st_size, status.st_mtime_ns)
    lines = [repr((str(source.resolve()), *archive)), *sorted(repr((one.name, one.size, one.stamp)) for one in members)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def import_summary(counts: Mapping[str, int], columns: list[str]) -> Iterator[str]:
    """Summarize the import in lines."""
    yield f"imported {sum(counts.values())} files in {len(counts)} of {len(CLASSES)} classes:"
    yield from (f"  {name:<28} {counts.get(name, 0):>6}" for name in CLASSES)
    if "given_side" in columns:
        yield f"Train/ and Test/ were merged and the images will be split again; given_side in {METADATA} keeps the original split"


def next_steps() -> Iterator[str]:
    """Tell the user which commands come next."""
    yield f"next: git add {DATA_POINTER} && git commit, then dvc repro"
    yield f"the previous dataset: git checkout REV {DATA_POINTER} && dvc checkout {DATA_POINTER}"


def dvc(*command: str) -> str:
    """Run DVC and return what it prints.

    Raises:
        LesionflowError: DVC fails; the message quotes its output.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *command], capture_output=True, text=True, env={**os.environ, "PATH": path}, check=False
    )
    if done.returncode != 0:
        raise LesionflowError(f"dvc {command[0]} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout
