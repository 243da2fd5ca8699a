"""Takes images out of data/, for example after a withdrawn consent."""

import hashlib
import shutil
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator

from app.console import first_few
from app.data.content import DatasetContent, keep_files, write_tables
from app.data.ingest import staging_folder
from app.data.members import METADATA
from app.data.present import PresentDataset, read_present
from app.data.replacement import STAGING, locked, recover_dataset, require_safe_previous
from app.data.selection import Selection, select_images
from app.data.tables import FILE
from app.models.trained_on import version_lines
from components.core import spreadsheets
from components.core.errors import LesionflowError, UnreadableImageError
from components.core.files import sha256
from components.core.paths import DATA, DATA_POINTER

WITHOUT_FOLDER = "no diagnosis"


def remove_images(selection: Selection, dry_run: bool = False) -> Iterator[str]:
    """Remove the selected images and their rows of metadata.csv from the dataset; yield progress messages.

    Args:
        selection: what to remove.
        dry_run: describe the removal and change nothing.

    Raises:
        LesionflowError: an id is unknown or ambiguous, all images are selected, or the current dataset is not committed to git and DVC.
            Nothing was changed.
    """
    if selection == Selection():
        raise LesionflowError("nothing is named to remove. Use --patient, --lesion or --image")
    if dry_run:
        present = read_present()
        yield from _describe(present, select_images(present, selection))
        yield "dry run: nothing was changed"
        return
    with locked():
        yield from recover_dataset()
        require_safe_previous()
        present = read_present()
        removed = select_images(present, selection)
        yield from _describe(present, removed)
        _replace(present, removed)
    yield from _next_lines()
    yield f"removed {len(removed)} images; {len(present.images) - len(removed)} are left"


def _describe(present: PresentDataset, removed: Collection[str]) -> Iterator[str]:
    """What a removal takes out, what it leaves although it is related, and which versions were trained with it."""
    if len(removed) == len(present.images):
        raise LesionflowError(f"these are all {len(removed)} images of {DATA}/. Import another dataset to replace it; nothing was changed")
    yield f"to remove: {len(removed)} of {len(present.images)} images"
    there, gone = Counter(map(_folder, present.images)), Counter(map(_folder, removed))
    width = max(map(len, gone))
    yield from (f"  {name:<{width}}  {count:>6} of {there[name]}" for name, count in sorted(gone.items()))
    yield f"files: {first_few(removed)}"
    yield from _rows(present, removed)
    yield from _equal_files(present, removed)
    yield from version_lines(_pixels(removed))


def _rows(present: PresentDataset, removed: Collection[str]) -> Iterator[str]:
    from components.data_quality.decisions import DECISIONS  # imports scipy

    rows = 0 if present.metadata is None else int(present.metadata[FILE].isin(removed).sum())
    if rows:
        yield f"rows of {METADATA} to remove: {rows}"
    decided = spreadsheets.read(DECISIONS) if DECISIONS.exists() else None
    about = [] if decided is None or "path" not in decided else decided["path"][decided["path"].isin(removed)].tolist()
    if about:
        named = first_few(about)
        yield f"{DECISIONS} has {len(about)} rows about them, which stay: {named}. Delete these rows, or `validate` calls them stale"


def _equal_files(present: PresentDataset, removed: Collection[str]) -> Iterator[str]:
    """Name files that stay although they have the bytes of a removed one."""
    gone, sizes = set(removed), defaultdict(list)
    for path in removed:
        sizes[present.files[path]].append(path)
    others = [path for path in present.images if path not in gone and present.files[path] in sizes]
    digests = {sha256(DATA / path) for size in {present.files[path] for path in others} for path in sizes[size]}
    if equal := [path for path in others if sha256(DATA / path) in digests]:
        yield f"files that stay with the same bytes as a removed one: {len(equal)} ({first_few(equal)}). To remove them, add --image"


def _pixels(removed: Collection[str]) -> set[str]:
    """Hashes of the pixels of the images, as the catalog has them; without files that are not images."""
    from components.imaging import images

    found = set()
    for path in removed:
        try:
            found.add(images.pixels_sha256(images.decode((DATA / path).read_bytes())))
        except UnreadableImageError:
            continue
    return found


def _replace(present: PresentDataset, removed: Collection[str]) -> None:
    gone = set(removed)
    kept = {name: size for name, size in present.files.items() if name not in gone}
    metadata = None if present.metadata is None else present.metadata[~present.metadata[FILE].isin(removed)]
    content = DatasetContent({}, metadata, present.attribution, present.description, kept)
    pointer = DATA_POINTER.read_text(encoding="utf-8") if DATA_POINTER.exists() else ""
    identity = hashlib.sha256("\n".join(["removal", pointer, *removed]).encode()).hexdigest()[:16]
    shutil.rmtree(STAGING / identity, ignore_errors=True)
    with staging_folder(f"{DATA}/ without the removed images", identity) as draft:
        keep_files(kept, draft)
        write_tables(content, draft)


def _next_lines() -> Iterator[str]:
    yield f"next: git add {DATA_POINTER} && git commit, then dvc repro"
    yield (
        f"earlier revisions of {DATA_POINTER} still name the images, and DVC's cache still has them. After the commit and the run,"
        " `dvc gc --workspace` deletes from the cache everything that the workspace does not use, earlier datasets and results included;"
        " with --cloud --remote NAME, from that remote too. See docs/how-to/remove-images.md"
    )


def _folder(path: str) -> str:
    return path.partition("/")[0] if "/" in path else WITHOUT_FOLDER
