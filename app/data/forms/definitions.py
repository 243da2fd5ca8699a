"""Reads the definitions of forms and of known columns."""

import re
from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

FOLDER = Path(__file__).parent
COLUMNS_FILE = "columns.yaml"
ImageType = Literal["dermoscopic", "clinical"]


class _Definition(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KnownColumns(_Definition):
    """Columns that an import reads."""

    images: tuple[str, ...] = Field(description="headers of a column that names images, the first that a table has counts")
    columns: dict[str, tuple[str, ...]] = Field(description="columns that are kept, with other headers for them")
    labels: tuple[str, ...] = Field(description="columns of diagnoses, the most specific first")


class Form(_Definition):
    """How a source is laid out: what it is recognised by, and how its tables are read."""

    name: str
    title: str
    headers: tuple[tuple[str, ...], ...] = Field(default=(), description="alternatives of headers that a table of this form has")
    columns: dict[str, str] = Field(default_factory=dict, description="further headers, with the column that each becomes")
    labels: tuple[str, ...] = Field(default=(), description="columns of diagnoses, most specific first; empty: those of columns.yaml")
    codes: dict[str, str] = Field(default_factory=dict, description="diagnoses that the tables give as codes")
    one_hot: tuple[str, ...] = Field(default=(), description="columns of which one is 1 in each row: the diagnosis")
    joined_by: str | None = Field(default=None, description="column by which a table without image names is joined to one that has them")
    pairs: tuple[str, ...] = Field(default=(), description="the two columns of a list of images that are duplicates of each other")
    label_sets: tuple[str, ...] = Field(default=(), description="label sets for this form, the finest first")
    image_type: ImageType = "dermoscopic"
    table_files: tuple[str, ...] = Field(default=(), description="names of tables whose suffix is not that of a table")
    inner_archives: tuple[str, ...] = Field(default=(), description="patterns of archives within the source that are read too")
    complete: bool = Field(default=False, description="whether a row without an image is an error")

    @property
    def labels_images(self) -> bool:
        """Whether the tables of this form, not the folders, label the images."""
        return self.name != FOLDERS.name


FOLDERS = Form(name="folders", title="one folder per diagnosis", complete=True)
TABLE = Form(name="table", title="images and a table with their diagnoses")


@cache
def known_columns() -> KnownColumns:
    """The columns that an import reads."""
    return KnownColumns.model_validate(yaml.safe_load((FOLDER / COLUMNS_FILE).read_text(encoding="utf-8")))


@cache
def forms() -> dict[str, Form]:
    """All forms by name; those with a file of their own first, which are the ones with headers."""
    paths = [path for path in sorted(FOLDER.glob("*.yaml")) if path.name != COLUMNS_FILE]
    read = [Form.model_validate({**yaml.safe_load(path.read_text(encoding="utf-8")), "name": path.stem}) for path in paths]
    return {form.name: form for form in (*read, TABLE, FOLDERS)}


def fold_header(header: str) -> str:
    """A column's header in small letters, its words joined by underscores."""
    return re.sub(r"[\s_-]+", "_", header.strip().casefold())
