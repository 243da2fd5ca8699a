"""The catalog: one row per file of the dataset, and what each column means."""

import hashlib
from pathlib import Path

import pandas as pd

from components.core.files import existing
from components.core.paths import CATALOG, SPLITS

COLUMNS = {
    "path": "relative to data/, with forward slashes; the image's key everywhere",
    "isic_id": "file name without suffix, or the id metadata.csv gives",
    "diagnosis": "class of the folder or of a person's decision, or null where it is none of the nine",
    "lesion_id": "what the image shows; where metadata.csv names no lesion, the archive's id of the image or, without one, its path",
    "collection": "where the image comes from, or null",
    "license": "terms of use, or null",
    "given_side": "train or test where the dataset came split, or null",
    "bytes": "file size",
    "format": "JPEG or PNG, null where unreadable",
    "mode": "Pillow's colour mode before conversion to RGB",
    "orientation": "EXIF orientation, 1 where upright",
    "width": "pixels, upright; 0 where unreadable",
    "height": "pixels, upright; 0 where unreadable",
    "sha256": "of the file's bytes",
    "pixels_sha256": "of the decoded RGB pixels, empty where unreadable",
    "group": "path of the first of the files that share a side of the split: of one lesion, one archive id or one picture, left out or not",
    "usable": "whether later stages may use the image",
    "reason": "why not, empty where usable",
}

SIDES = ("train", "validation", "test")


def usable(path: Path = CATALOG) -> pd.DataFrame:
    """Rows that later stages may use, sorted by path."""
    frame = pd.read_parquet(existing(path))
    return frame[frame["usable"]].sort_values("path", ignore_index=True)


def splits(path: Path = SPLITS) -> pd.DataFrame:
    """One row per usable image: path, isic_id, diagnosis, lesion_id, collection, group, side; sorted by path."""
    return pd.read_parquet(existing(path))


def side(name: str, path: Path = SPLITS) -> pd.DataFrame:
    """The rows of one side of the split, sorted by path."""
    frame = splits(path)
    return frame[frame["side"] == name].reset_index(drop=True)


def split_hash(images: pd.DataFrame) -> str:
    """Identity of a set of labelled images: sha256 over sorted (pixels' sha256, diagnosis) pairs, in hex."""
    lines = sorted(f"{row.pixels_sha256} {row.diagnosis}" for row in images.itertuples())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
