"""Lists the dataset's files and reads their labels from folders and metadata.csv."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from components.core.classes import class_of_folder
from components.core.errors import LesionflowError
from components.core.escaping import one_line
from components.data_quality.findings import ARCHIVE_ID

METADATA = "metadata.csv"
DATASET_FILE = "dataset.yaml"
METADATA_FILES = (METADATA, DATASET_FILE, "attribution.txt", "licenses", ".gitignore")


def list_files(root: Path) -> list[str]:
    """Sorted relative paths of all files that should be images, without metadata.csv, attribution.txt and licenses/.

    Raises:
        LesionflowError: a name is not UTF-8, which neither the catalog nor DVC can store.
    """
    found = (path.relative_to(root) for path in sorted(root.rglob("*")) if path.is_file())
    files = [path.as_posix() for path in found if path.parts[0] not in METADATA_FILES]
    for name in files:
        if not name.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in name):
            raise LesionflowError(f"the name of {root}/{name} is not UTF-8. Rename the file.")
    return files


def read_metadata(root: Path) -> pd.DataFrame | None:
    """Read metadata.csv as text, indexed by filename; None if the dataset has none.

    Raises:
        LesionflowError: it has no filename column, names a file twice, or is not a CSV table.
    """
    path = root / METADATA
    if not path.exists():
        return None
    try:
        table = pd.read_csv(path, dtype=str)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as fault:
        raise LesionflowError(f"{path} is not a CSV table: {fault}") from None
    if "filename" not in table:
        raise LesionflowError(f"{path} has no column 'filename': found {', '.join(table.columns)}")
    repeated = table.loc[table["filename"].duplicated(), "filename"]
    if len(repeated):
        raise LesionflowError(f"{path} names {len(repeated)} files more than once, first {repeated.iloc[0]!r}")
    return table.set_index("filename")


def add_labels(files: pd.DataFrame, metadata: pd.DataFrame | None) -> pd.DataFrame:
    """Add columns from folders and metadata.csv: class, image ID, lesion (and whether metadata.csv names it), collection, license and
    original split."""
    frame = files.copy()
    frame["diagnosis"] = pd.array([_class_of_path(path) for path in frame["path"]], dtype="str")
    names = _in_one_line([Path(path).stem for path in frame["path"]])
    for column in ("isic_id", "lesion_id", "collection", "license", "given_side"):
        known = metadata[column] if metadata is not None and column in metadata else pd.Series(dtype="str")
        frame[column] = _in_one_line(frame["path"].map(known))
    frame["isic_id"] = frame["isic_id"].fillna(names).fillna(frame["path"])
    frame["lesion_named"] = frame["lesion_id"].notna()
    archive_ids = frame["isic_id"].str.extract(ARCHIVE_ID, expand=False)
    frame["lesion_id"] = frame["lesion_id"].fillna(archive_ids).fillna(frame["path"])
    return frame


def _in_one_line(texts: Iterable[object]) -> "pd.Series[str]":
    """Remove line breaks and control characters from each text; null if the text is missing or empty afterwards."""
    return pd.Series([one_line(text) or None if isinstance(text, str) else None for text in texts], dtype="str")


def _class_of_path(path: str) -> str | None:
    folders = reversed(Path(path).parts[:-1])
    return next((found for folder in folders if (found := class_of_folder(folder))), None)
