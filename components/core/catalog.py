"""The catalog: one row per file of the dataset, with the meaning of each column."""

import hashlib
from pathlib import Path

import pandas as pd

from components.core.files import require_file
from components.core.paths import CATALOG, SPLITS

COLUMNS = {
    "path": "path relative to data/, with forward slashes; identifies the image in all files",
    "isic_id": "file name without suffix, or the ID from metadata.csv",
    "diagnosis": "class of the label set, from the folder, metadata.csv or a reviewer's decision; null if there is none",
    "source_diagnosis": "the source's own diagnosis: the name of the folder, or null",
    "patient_id": "patient whose lesion the image shows, or null if it is not known",
    "lesion_id": "lesion that the image shows, within its patient; if metadata.csv names none, the archive ID or, without one, the path",
    "collection": "origin of the image, or null",
    "age_approx": "age of the patient in years, 0 to 120, or null",
    "sex": "male or female, or null",
    "anatom_site_general": "part of the body, in small letters, or null",
    "fitzpatrick_skin_type": "I to VI, or null",
    "license": "terms of use, or null",
    "attribution": "whom the license asks to name, or null",
    "diagnosis_confirm_type": "how the diagnosis was confirmed, as the source says, for example histopathology, or null",
    "given_side": "train or test if the imported dataset was already split, or null",
    "bytes": "file size",
    "format": "JPEG or PNG; null if unreadable",
    "mode": "Pillow's color mode before conversion to RGB",
    "orientation": "EXIF orientation; 1 means upright",
    "width": "pixels, upright; 0 if unreadable",
    "height": "pixels, upright; 0 if unreadable",
    "sha256": "hash of the file's bytes",
    "pixels_sha256": "hash of the decoded RGB pixels; empty if unreadable",
    "group": "path of the first of the files that must be in the same split: same patient, lesion, archive ID or image, also if excluded",
    "usable": "whether later stages may use the image",
    "reason": "why the image is excluded; empty if usable",
}

SPLIT_NAMES = ("train", "validation", "test")


def load_usable_images(path: Path = CATALOG) -> pd.DataFrame:
    """Load the rows that later stages may use, sorted by path."""
    frame = pd.read_parquet(require_file(path))
    return frame[frame["usable"]].sort_values("path", ignore_index=True)


def load_splits(path: Path = SPLITS) -> pd.DataFrame:
    """Load one row per usable image, with the columns of split.COLUMNS and its side; sorted by path."""
    return pd.read_parquet(require_file(path))


def load_split(split: str, path: Path = SPLITS) -> pd.DataFrame:
    """Load the rows of one split (train, validation or test), sorted by path."""
    frame = load_splits(path)
    return frame[frame["side"] == split].reset_index(drop=True)


def split_hash(images: pd.DataFrame) -> str:
    """Identity of a set of labeled images: sha256 over sorted (pixels' sha256, diagnosis) pairs, in hex."""
    lines = sorted(f"{row.pixels_sha256} {row.diagnosis}" for row in images.itertuples())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
