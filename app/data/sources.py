"""Tells the source of each image of a dataset, also of an earlier one."""

import io
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pandas as pd

from app.data.dataset_file import DATASET_FILE, SOURCE, parse_description
from app.data.members import METADATA
from app.data.tables import FILE
from components.core.errors import LesionflowError
from components.core.paths import DATA

NO_SOURCE = "no source"
"""Shown for images of which the dataset does not name the source."""


@dataclass(frozen=True)
class Sources:
    """The sources of a dataset's images."""

    only: str = ""
    """The one source of all images, or empty text."""
    by_image: Mapping[str, str] = field(default_factory=dict)
    """The source of each image that metadata.csv names one for."""

    def of(self, images: Iterable[str]) -> Counter[str]:
        """Count these images by source."""
        return Counter(self.by_image.get(path) or self.only or NO_SOURCE for path in images)


def read_sources(revision: str | None) -> Sources:
    """The sources of the dataset of a git revision, or of data/ for None; without names where its files cannot be read."""
    description, table = (_read(name, revision) for name in (DATASET_FILE, METADATA))
    try:
        only = "" if description is None else parse_description(description, DATASET_FILE).only_source
        rows = pd.DataFrame() if table is None else pd.read_csv(io.StringIO(table), dtype=str, keep_default_na=False)
    except (LesionflowError, pd.errors.ParserError, pd.errors.EmptyDataError):
        return Sources()
    named = {FILE, SOURCE} <= {*rows}
    return Sources(only, dict(zip(rows[FILE], rows[SOURCE], strict=True)) if named else {})


def _read(name: str, revision: str | None) -> str | None:
    """The text of a file of the dataset; None if it does not exist or cannot be read."""
    if revision is None:
        try:
            return (DATA / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None
    import dvc.api
    from dvc.exceptions import DvcException
    from scmrepo.exceptions import SCMError

    try:
        return str(dvc.api.read((DATA / name).as_posix(), rev=revision, encoding="utf-8"))
    except (DvcException, SCMError, OSError, UnicodeDecodeError):
        return None
