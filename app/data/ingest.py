"""Imports a dataset into data/, or adds images to it, and tracks it with DVC. An interrupted import leaves the old dataset in place and
resumes when it is run again."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tqdm import tqdm

from app.data.addition import Addition, plan_addition
from app.data.addition_lines import addition_lines
from app.data.archives import Member, Source, archive_errors, open_source
from app.data.content import DatasetContent, content_of, keep_files, write_tables
from app.data.conversion import convert, converted_format
from app.data.forms.definitions import forms
from app.data.image_metadata import is_whole, without_metadata
from app.data.inner_archives import WithInnerArchives
from app.data.members import LICENSES, METADATA
from app.data.persons import names_persons, without_persons
from app.data.plan import make_plan
from app.data.plan_lines import plan_lines
from app.data.pseudonyms import open_key
from app.data.recognition import ImportOptions
from app.data.replacement import STAGING, locked, recover_dataset, replace_dataset, require_safe_previous
from components.core.errors import LesionflowError, ServiceUnavailable, UnreadableImageError
from components.core.paths import DATA, DATA_POINTER, UNFINISHED_SWAP
from components.data_quality.label_definitions import read_definitions
from components.runtime.params import ImportLimits
from components.runtime.params_file import load


def import_dataset(source: Path, limits: ImportLimits | None = None, options: ImportOptions | None = None) -> Iterator[str]:
    """Import a folder, a zip or a tar archive as the dataset, or add it to the dataset; yield progress messages.

    Args:
        source: the folder or archive.
        limits: limits of the source; None uses those of params.yaml.
        options: what the user says about the source.

    Raises:
        LesionflowError: the source is unsafe or corrupt, has no known form or no image with a diagnosis, its tables contradict each other
            or the folders, or the current dataset is not committed to git and DVC. With `options.add`: there is no dataset, its images
            are of another type, or it labels an image otherwise. Nothing was changed.
    """
    limits = limits or load().importing
    with locked():
        yield from recover_dataset()
        require_safe_previous()
        yield from import_opened(open_source(source, limits), limits, options)


def import_opened(opened: Source, limits: ImportLimits, options: ImportOptions | None = None, source: str | None = None) -> Iterator[str]:
    """Import an opened source within `locked`; yield progress messages.

    Args:
        opened: the source.
        limits: its limits.
        options: what the user says about it.
        source: its name for dataset.yaml; None uses that of the folder or archive.

    Raises:
        LesionflowError: see `import_dataset`.
    """
    definitions = read_definitions()
    opened, members = with_inner_archives(opened, limits)
    plan = make_plan(opened, members, definitions, options)
    yield from plan_lines(plan, definitions)
    if names_persons(plan):
        key = open_key()
        yield key.message
        plan = without_persons(plan, key.secret)
    addition = plan_addition(opened, members, plan, definitions, source) if options is not None and options.add else None
    if addition is not None:
        yield from addition_lines(addition, definitions)
        if not addition.targets:
            yield f"all {plan.images} images are in {DATA}/ already; nothing was changed"
            return
    content = content_of(plan, source) if addition is None else addition.content
    with staging_folder(str(opened.path), import_identity(opened.path, members, addition)) as draft:
        write_draft(opened, members, content, draft)
    yield from _result_lines(content, addition)


def _result_lines(content: DatasetContent, addition: Addition | None) -> Iterator[str]:
    """What was imported, and what to do next."""
    counts = count_images(DATA)
    columns = [] if content.metadata is None else list(content.metadata.columns)
    if "given_side" in columns:
        yield f"Train/ and Test/ were merged and the images will be split again; given_side in {METADATA} keeps the original split"
    if "lesion_id" not in columns:
        yield f"no lesion_id in {METADATA}: each image counts as its own lesion unless a near-duplicate links it to another"
    yield f"next: git add {DATA_POINTER} && git commit, then dvc repro"
    yield f"the previous dataset: git checkout REV {DATA_POINTER} && dvc checkout {DATA_POINTER}"
    added = "" if addition is None else f"added {len(addition.targets)} files; "
    yield f"{added}imported {counts.total()} files in {len(counts)} classes"


def describe_import(source: Path, limits: ImportLimits | None = None, options: ImportOptions | None = None) -> Iterator[str]:
    """Describe what `import_dataset` would do, in lines; nothing is changed.

    Raises:
        LesionflowError: the import would be refused because of the source.
    """
    definitions = read_definitions()
    limits = limits or load().importing
    opened, members = with_inner_archives(open_source(source, limits), limits)
    plan = make_plan(opened, members, definitions, options)
    yield from plan_lines(plan, definitions)
    if options is not None and options.add:
        addition = plan_addition(opened, members, plan, definitions)
        yield from addition_lines(addition, definitions)
        images, classes = addition.counts.total(), len({levels[0] for levels in addition.counts})
        yield f"dry run: {len(addition.targets)} images would be added, {images} in {classes} classes with them; nothing was changed"
        return
    yield f"dry run: {plan.images} images in {len({levels[0] for levels in plan.diagnoses})} classes would be imported; nothing was changed"


def with_inner_archives(opened: Source, limits: ImportLimits) -> tuple[Source, list[Member]]:
    """The source with the archives in it that belong to a form, and its files."""
    patterns = [pattern for form in forms().values() for pattern in form.inner_archives]
    together = WithInnerArchives(opened, patterns, limits)
    return together, together.members()


def write_draft(opened: Source, members: list[Member], content: DatasetContent, draft: Path) -> None:
    """Write a dataset into the staging folder: images, licenses, metadata.csv, attribution.txt and dataset.yaml.

    Raises:
        LesionflowError: a member has more or fewer bytes than declared.
    """
    copy_members(opened, content.targets, {member.name: member.size for member in members}, draft, content.kept)
    keep_files(content.kept, draft)
    write_tables(content, draft)


def count_images(folder: Path) -> Counter[str]:
    """Count the images of a dataset folder by diagnosis."""
    diagnoses = (path for path in folder.iterdir() if path.is_dir() and path.name != LICENSES)
    return Counter({path.name: sum(1 for _ in path.iterdir()) for path in diagnoses})


def copy_members(
    opened: Source, targets: Mapping[str, str], sizes: Mapping[str, int], draft: Path, kept: Mapping[str, int] | None = None
) -> None:
    """Copy or convert the members to the draft and delete everything else from it; files that an interrupted import has completed are
    kept, and so are those of `kept`, sizes by path.

    Raises:
        LesionflowError: a member has more or fewer bytes than declared, or cannot be converted.
    """
    formats = {name: image_format for name, target in targets.items() if (image_format := converted_format(name, target))}
    copied = {target: None if name in formats else sizes[name] for name, target in targets.items()}
    _sweep(draft, {**copied, **(kept or {})})
    wanted = [name for name, target in targets.items() if not (draft / target).is_file()]
    with tqdm(total=len(targets), initial=len(targets) - len(wanted), desc="importing", unit="file", mininterval=1) as bar:
        for name, stream in opened.contents(wanted):
            target = draft / targets[name]
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{hashlib.sha256(name.encode()).hexdigest()[:16]}.partial")
            _write(opened.path, Member(name, sizes[name]), stream, formats.get(name), partial)
            partial.replace(target)
            bar.update()


def _write(source: Path, member: Member, stream: IO[bytes], image_format: str | None, path: Path) -> None:
    """Write a member, converted from its format if it has one, without metadata. A file whose bytes change is flushed to disk: a resumed
    import cannot tell from its size whether it is complete."""
    with archive_errors(source, member.name):
        content = stream.read(member.size + 1)
    if len(content) != member.size:
        raise LesionflowError(f"{source}: {member.name!r} does not have its declared size of {member.size} bytes; nothing was imported")
    try:
        stored = without_metadata(content if image_format is None else convert(content, image_format))
    except UnreadableImageError as fault:
        raise LesionflowError(f"{source}: {member.name!r} cannot be converted to PNG: {fault}; nothing was imported") from None
    with path.open("wb") as copy:
        copy.write(stored)
        if stored != content:
            copy.flush()
            os.fsync(copy.fileno())


def _sweep(draft: Path, wanted: Mapping[str, int | None]) -> None:
    """Delete empty folders and every file of the draft that is not a target or is not complete: it has another size, unless that is
    None, and does not end as an image does, like one without its metadata."""
    for path in sorted(draft.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
            continue
        target = path.relative_to(draft).as_posix()
        if target not in wanted or (wanted[target] not in (None, path.lstat().st_size) and not is_whole(path)):
            path.unlink()


@contextmanager
def staging_folder(source: str, identity: str) -> Iterator[Path]:
    """Yield a staging folder that replaces data/, under DVC, when the block ends without an error.

    An import that is interrupted, or stopped because DVC is running, reuses its folder. If the import fails, the folder is deleted.

    Args:
        source: origin of the dataset, for messages.
        identity: name of the folder, which must be equal only for imports that write the same files.
    """
    draft = STAGING / identity
    draft.mkdir(parents=True, exist_ok=True)
    for other in STAGING.iterdir():
        if other != draft:
            shutil.rmtree(other) if other.is_dir() else other.unlink()
    try:
        yield draft
        replace_dataset(draft, source)
    except ServiceUnavailable:
        raise
    except Exception:
        if not UNFINISHED_SWAP.exists():
            shutil.rmtree(STAGING)
        raise


def import_identity(source: Path, members: list[Member], addition: Addition | None = None) -> str:
    """Hash of the source's path and of the names, sizes and times of its members, and of the dataset that they are added to."""
    status = source.stat()
    archive = () if source.is_dir() else (status.st_size, status.st_mtime_ns)
    lines = [repr((str(source.resolve()), *archive)), *sorted(repr((one.name, one.size, one.stamp)) for one in members)]
    if addition is not None:
        lines.append(f"added to {DATA_POINTER.read_text(encoding='utf-8') if DATA_POINTER.exists() else DATA}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


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
