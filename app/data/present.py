"""Reads the present dataset in data/ for a command that changes a part of it."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from app.data.dataset_file import DATASET_FILE, NOT_RECORDED, SOURCE, Description, read_description_of
from app.data.image_types import COLUMN, DERMOSCOPIC, image_kind
from app.data.members import ATTRIBUTION, LICENSES, METADATA
from app.data.tables import FILE
from components.core.errors import LesionflowError
from components.core.paths import DATA, DATA_POINTER

TABLES = frozenset({METADATA, ATTRIBUTION, DATASET_FILE})
"""Files that are written again; all others stay as they are."""


@dataclass(frozen=True)
class PresentDataset:
    """The dataset in data/."""

    files: dict[str, int]
    """Size in bytes of each file but TABLES, by path within data/."""
    metadata: pd.DataFrame | None
    """metadata.csv as text, null cells as empty text."""
    attribution: bytes | None
    description: Description | None

    @cached_property
    def images(self) -> list[str]:
        """Paths of the images: the files in folders of diagnoses."""
        return [name for name in self.files if not name.startswith((f"{LICENSES}/", "."))]

    @cached_property
    def levels(self) -> dict[str, tuple[str, ...]]:
        """The names of each image's diagnosis, most specific first: its folders, then the Archive's levels."""
        from components.data_quality.dataset import diagnosis_levels  # imports scipy

        metadata = None if self.metadata is None else self.metadata.set_index(FILE)
        return dict(zip(self.images, diagnosis_levels(self.images, metadata), strict=True))

    def column(self, name: str) -> dict[str, str]:
        """The cells of a column of metadata.csv that are not empty, by path."""
        if self.metadata is None or name not in self.metadata:
            return {}
        cells = self.metadata.set_index(FILE)[name]
        return cells[cells != ""].to_dict()

    @property
    def image_type(self) -> str:
        """The type of the images: of dataset.yaml or, in a dataset from before that file, the one that most rows of metadata.csv give;
        dermoscopic if nothing gives one."""
        if self.description is not None and self.description.image_type is not None:
            return str(self.description.image_type)
        kinds = Counter(image_kind(value) for value in self.column(COLUMN).values())
        return kinds.most_common(1)[0][0] if kinds else DERMOSCOPIC

    def described(self, label_set: str | None) -> Description:
        """Its description; for a dataset without dataset.yaml, one that says so, with this label set."""
        if self.description is not None:
            return self.description
        entry = {"form": None, SOURCE: NOT_RECORDED, "image_type": self.image_type, "label_set": label_set}
        return Description(self.image_type, label_set, (entry,))


def read_present() -> PresentDataset:
    """Read the present dataset.

    Raises:
        LesionflowError: there is none, or its metadata.csv or dataset.yaml cannot be read.
    """
    if not DATA.is_dir():
        way_out = f"Run `dvc checkout {DATA_POINTER}` first" if DATA_POINTER.exists() else "Run `lesionflow import SRC` without --add first"
        raise LesionflowError(f"there is no dataset: {DATA}/ does not exist. {way_out}; nothing was changed")
    paths = sorted(path for path in DATA.rglob("*") if path.is_file())
    files = {path.relative_to(DATA).as_posix(): path.stat().st_size for path in paths}
    present = {name: size for name, size in files.items() if name not in TABLES}
    attribution = (DATA / ATTRIBUTION).read_bytes() if ATTRIBUTION in files else None
    return PresentDataset(present, read_metadata_text(DATA / METADATA), attribution, read_description_of(DATA))


def read_metadata_text(path: Path) -> pd.DataFrame | None:
    """Read a metadata.csv with every cell as it is written; None if there is no such file.

    Raises:
        LesionflowError: it is not a CSV table in UTF-8, or has no column `filename`, or names a file twice.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        return None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as fault:
        raise LesionflowError(f"{path} is not a CSV table: {fault}") from None
    if FILE not in table:
        raise LesionflowError(f"{path} has no column {FILE!r}: found {', '.join(table.columns)}")
    repeated = table.loc[table[FILE].duplicated(), FILE]
    if len(repeated):
        raise LesionflowError(f"{path} names {len(repeated)} files more than once, first {repeated.iloc[0]!r}")
    return table.fillna("")
