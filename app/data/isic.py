"""Imports from the ISIC Archive with its official command line `isic` (package isic-cli).

`isic image download` writes <isic_id>.jpg for each image, metadata.csv, attribution.txt and licenses/. It skips files that it has
already downloaded, so the download stays in .isic/ until the import is complete.
"""

import csv
import hashlib
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from app.data.archives import Folder
from app.data.ingest import LICENSES, METADATA, METADATA_FILES, copy_members, count_images, import_summary, next_steps, staging_folder
from app.data.replacement import locked, recover_dataset, require_safe_previous
from components.core.classes import class_of_folder
from components.core.errors import LesionflowError
from components.core.paths import DATA
from components.imaging.images import SUFFIXES
from components.runtime.params import ImportLimits
from components.runtime.params_file import load

DOWNLOADS = Path(".isic")
TABLE = Path(__file__).with_name("isic_diagnoses.csv")
DIAGNOSIS_COLUMNS = ("diagnosis_5", "diagnosis_4", "diagnosis_3", "diagnosis_2", "diagnosis_1", "diagnosis")
"""Columns of the archive's metadata, the most specific first; `diagnosis` is what older versions of isic-cli wrote."""


def diagnosis_table(path: Path = TABLE) -> dict[str, str | None]:
    """Map the archive's diagnoses to classes; None for a diagnosis that the table excludes."""
    with path.open(encoding="utf-8", newline="") as stream:
        return {row["diagnosis"].casefold(): row["class"] or None for row in csv.DictReader(stream)}


def class_of(row: dict[str, str], table: dict[str, str | None]) -> tuple[str | None, str]:
    """An image's class and the diagnosis it was derived from: the most specific one in the table or among the nine class names."""
    diagnoses = [str(row[level]) for level in DIAGNOSIS_COLUMNS if isinstance(row.get(level), str) and row[level].strip()]
    for name in diagnoses:
        if name.casefold() in table:
            return table[name.casefold()], name
        if diagnosis := class_of_folder(name):
            return diagnosis, name
    return None, diagnoses[0] if diagnoses else "no diagnosis"


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


def sort_into_classes(metadata: pd.DataFrame, folder: Path) -> tuple[pd.DataFrame, Counter[str], list[str]]:
    """Return metadata.csv for the images that have a class, the counts of diagnoses without one, and the images not downloaded."""
    table = diagnosis_table()
    rows, unmapped, missing = [], Counter[str](), []
    for row in metadata.to_dict("records"):
        diagnosis, original = class_of(row, table)
        if diagnosis is None:
            unmapped[original] += 1
            continue
        file = next((path for suffix in SUFFIXES if (path := folder / f"{row['isic_id']}{suffix}").is_file()), None)
        if file is None:
            missing.append(str(row["isic_id"]))
            continue
        rows.append({"filename": f"{diagnosis}/{file.name}", **row, "diagnosis": diagnosis, "isic_diagnosis": original})
    return pd.DataFrame(rows).rename(columns={"copyright_license": "license"}), unmapped, missing


def import_isic(collections: str, search: str, limit: int, limits: ImportLimits | None = None) -> Iterator[str]:
    """Import the images of a search of the ISIC Archive as the dataset; yield progress messages.

    Args:
        collections: comma-separated numbers of collections, or empty.
        search: a query in the archive's language, or empty.
        limit: maximum number of images; 0 means no limit.
        limits: limits of the source; None uses those of params.yaml.

    Raises:
        LesionflowError: `isic` fails, images are missing, or none has one of the nine diagnoses. Nothing was changed.
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
    with locked():
        yield from recover_dataset()
        require_safe_previous()
        table, unmapped = classify_download(folder)
        replace_dataset(folder, table, limits)
        shutil.rmtree(folder)
        yield from import_summary(count_images(DATA), list(table.columns))
    if unmapped:
        yield f"skipped {sum(unmapped.values())} images whose diagnosis is not one of the nine classes ({TABLE.name}): {_listed(unmapped)}"
    yield from next_steps()


def classify_download(folder: Path) -> tuple[pd.DataFrame, Counter[str]]:
    """Return metadata.csv for the downloaded images that have a class, and the counts of diagnoses without one.

    Raises:
        LesionflowError: metadata.csv cannot be read, images are missing, or none has a class.
    """
    metadata = read_downloaded_metadata(folder)
    table, unmapped, missing = sort_into_classes(metadata, folder)
    if missing:
        raise LesionflowError(
            f"{len(missing)} images were not downloaded, first {missing[0]}. Run the same import again; it downloads only those."
        )
    if table.empty:
        raise LesionflowError(f"none of {len(metadata)} images has one of the nine diagnoses; found {_listed(unmapped)}")
    return table, unmapped


def read_downloaded_metadata(folder: Path) -> pd.DataFrame:
    """The metadata.csv that `isic` wrote, as text.

    Raises:
        LesionflowError: it cannot be read, or has no column `isic_id`.
    """
    try:
        metadata = pd.read_csv(folder / METADATA, dtype=str)
    except (OSError, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as fault:
        raise LesionflowError(f"`isic` did not write a readable {METADATA} to {folder}: {fault}") from None
    if "isic_id" not in metadata:
        raise LesionflowError(f"{folder / METADATA} has no column 'isic_id': found {', '.join(metadata.columns)}")
    return metadata


def replace_dataset(folder: Path, table: pd.DataFrame, limits: ImportLimits) -> None:
    """Replace data/ with the downloaded images that `table` lists, its rows as metadata.csv, and the licenses."""
    source = Folder(folder, limits)
    members = source.members()
    sizes = {member.name: member.size for member in members}
    targets = {Path(name).name: name for name in table["filename"]}
    targets |= {name: name for name in sizes if name in METADATA_FILES[1:] or name.startswith(f"{LICENSES}/")}
    with staging_folder(folder, members) as draft:
        copy_members(source, targets, sizes, draft)
        table.to_csv(draft / METADATA, index=False)


def _listed(unmapped: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in unmapped.most_common())
