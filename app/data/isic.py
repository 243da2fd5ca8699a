"""Imports from the ISIC Archive with its official command line `isic` (package isic-cli).

`isic image download` writes <isic_id>.jpg for each image, metadata.csv, attribution.txt and licenses/. It skips files that it has
already downloaded, so the download stays in .isic/ until the import is complete.
"""

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from app.data.archives import Folder
from app.data.ingest import import_opened
from app.data.members import METADATA
from app.data.recognition import ImportOptions
from app.data.replacement import locked, recover_dataset, require_safe_previous
from app.data.tables import ID, read_table
from components.core.errors import LesionflowError
from components.imaging.images import SUFFIXES
from components.runtime.params import ImportLimits
from components.runtime.params_file import load

DOWNLOADS = Path(".isic")
FORM = "isic-archive"


def download(collections: str, search: str, limit: int, folder: Path) -> None:
    """Run the official command line.

    Raises:
        LesionflowError: it is not installed, or it fails.
    """
    command = shutil.which("isic")
    if command is None:
        raise LesionflowError(
            "the command `isic` is not installed. Run `pip install isic-cli`, or install this project with its extra `isic`."
        )
    folder.mkdir(parents=True, exist_ok=True)
    options = [*(("--collections", collections) if collections else ()), *(("--search", search) if search else ())]
    done = subprocess.run([command, "image", "download", *options, "--limit", str(limit), str(folder)], check=False)
    if done.returncode != 0:
        raise LesionflowError(
            f"`isic image download` failed with exit code {done.returncode}. Downloaded files are kept; run the same import again."
        )


def import_isic(collections: str, search: str, limit: int, limits: ImportLimits | None = None, add: bool = False) -> Iterator[str]:
    """Import the images of a search of the ISIC Archive as the dataset; yield progress messages.

    Args:
        collections: comma-separated numbers of collections, or empty.
        search: a query in the archive's language, or empty.
        limit: maximum number of images; 0 means no limit.
        limits: limits of the source; None uses those of params.yaml.
        add: add the images to the dataset instead of replacing it.

    Raises:
        LesionflowError: `isic` fails, images are missing, or none has a diagnosis. Nothing was changed.
    """
    if not (collections or search or limit):
        raise LesionflowError("downloading the whole archive times out. Use --collection, --search or --limit.")
    limits = limits or load().importing
    with locked():
        yield from recover_dataset()
        require_safe_previous()
    key = hashlib.sha256(repr((collections, search, limit)).encode()).hexdigest()[:16]
    folder = DOWNLOADS / key
    download(collections, search, limit, folder)
    require_complete_download(folder)
    with locked():
        yield from recover_dataset()
        require_safe_previous()
        source = f"ISIC Archive: collections {collections or 'all'}, search {search or 'none'}, limit {limit or 'none'}"
        yield from import_opened(Folder(folder, limits), limits, ImportOptions(form=FORM, add=add), source)
        shutil.rmtree(folder)


def require_complete_download(folder: Path) -> None:
    """Raise if an image of metadata.csv was not downloaded.

    Raises:
        LesionflowError: it was not, or metadata.csv cannot be read or has no column `isic_id`.
    """
    try:
        table = read_table((folder / METADATA).read_bytes(), METADATA)
    except OSError as fault:
        raise LesionflowError(f"`isic` did not write a readable {METADATA} to {folder}: {fault}. Run the same import again") from None
    if ID not in table.rows:
        raise LesionflowError(
            f"{folder / METADATA} has no column {ID!r}: found {', '.join(table.headers.values())}. Delete {folder} and run the import again"
        )
    there = {path.stem for path in folder.iterdir() if path.suffix.lower() in SUFFIXES}
    if missing := [name for name in table.rows[ID] if name not in there]:
        raise LesionflowError(
            f"{len(missing)} images were not downloaded, first {missing[0]}. Run the same import again; it downloads only those."
        )
