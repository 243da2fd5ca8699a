"""Lists the dataset's files and reads their labels from folders and metadata.csv."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from components.core.errors import LesionflowError
from components.core.escaping import one_line
from components.data_quality import attributes, patients
from components.data_quality.findings import ARCHIVE_ID
from components.data_quality.label_definitions import LabelDefinition
from components.data_quality.placeholders import NO_PATIENT

METADATA = "metadata.csv"
DATASET_FILE = "dataset.yaml"
METADATA_FILES = (METADATA, DATASET_FILE, "attribution.txt", "licenses", ".gitignore")
ARCHIVE_LEVELS = ("diagnosis_5", "diagnosis_4", "diagnosis_3", "diagnosis_2", "diagnosis_1")
"""Columns of metadata.csv with the ISIC Archive's diagnoses, the most specific first."""


def list_files(root: Path) -> list[str]:
    """Sorted relative paths of all files that should be images, without METADATA_FILES.

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


def read_label_set_name(root: Path) -> str | None:
    """The label set that the import wrote to dataset.yaml; None if there is no such file, or no label set fits.

    Raises:
        LesionflowError: the file is not a mapping in YAML.
    """
    name: str | None = _read_description(root).get("label_set")
    return name


def has_clinical_photographs(root: Path) -> bool:
    """Whether dataset.yaml says that the images are clinical photographs; without it they are dermoscopic.

    Raises:
        LesionflowError: the file is not a mapping in YAML.
    """
    return _read_description(root).get("image_type") == "clinical"


def _read_description(root: Path) -> dict[str, Any]:
    path = root / DATASET_FILE
    if not path.exists():
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as fault:
        raise LesionflowError(f"{path} is not valid YAML: {fault}") from None
    if not isinstance(content, dict) or not isinstance(content.get("label_set"), str | None):
        raise LesionflowError(f"{path} must be a mapping whose key label_set names a label set")
    return content


def diagnosis_levels(paths: Iterable[str], metadata: pd.DataFrame | None) -> list[tuple[str, ...]]:
    """For each file, the names of its source's diagnosis, the most specific first: its folders, then the Archive's levels."""
    columns = [name for name in ARCHIVE_LEVELS if metadata is not None and name in metadata]
    levels = {} if metadata is None or not columns else dict(zip(metadata.index, metadata[columns].to_numpy(dtype=object), strict=True))
    return [
        (*reversed(Path(path).parts[:-1]), *(name for name in levels.get(path, ()) if isinstance(name, str) and name.strip()))
        for path in paths
    ]


def add_labels(files: pd.DataFrame, metadata: pd.DataFrame | None, definition: LabelDefinition) -> pd.DataFrame:
    """Add columns from folders and metadata.csv: class, the source's diagnosis, image ID, patient, lesion (and the id that
    metadata.csv gives it), collection, license, original split, age, sex, site and skin type."""
    frame, levels = files.copy(), diagnosis_levels(files["path"], metadata)
    frame["diagnosis"] = pd.array([definition.class_of_levels(names) for names in levels], dtype="str")
    frame["source_diagnosis"] = _in_one_line(names[0] if names else None for names in levels)
    names = _in_one_line([Path(path).stem for path in frame["path"]])
    for column in ("isic_id", "patient_id", "lesion_id", "collection", "license", "given_side", *attributes.READERS):
        known = metadata[column] if metadata is not None and column in metadata else pd.Series(dtype="str")
        frame[column] = _in_one_line(frame["path"].map(known))
    for column, read in attributes.READERS.items():
        frame[column] = read(frame[column])
    frame["isic_id"] = frame["isic_id"].fillna(names).fillna(frame["path"])
    frame["named_lesion"] = patients.known_ids(frame["lesion_id"])
    frame["patient_id"] = patients.fill_patients(patients.known_ids(frame["patient_id"], NO_PATIENT), frame["named_lesion"])
    archive_ids = frame["isic_id"].str.extract(ARCHIVE_ID, expand=False)
    frame["lesion_id"] = patients.lesion_keys(frame["patient_id"], frame["named_lesion"]).fillna(archive_ids).fillna(frame["path"])
    return frame


def _in_one_line(texts: Iterable[object]) -> "pd.Series[str]":
    """Remove line breaks and control characters from each text; null if the text is missing or empty afterwards."""
    return pd.Series([one_line(text) or None if isinstance(text, str) else None for text in texts], dtype="str")
