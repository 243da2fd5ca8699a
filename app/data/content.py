"""Writes the content of a dataset that does not come from a source: files that data/ has already, metadata.csv, attribution.txt and
dataset.yaml."""

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import yaml

from app.data.dataset_file import DATASET_FILE, Description, describe
from app.data.members import ATTRIBUTION, METADATA
from app.data.plan import ImportPlan
from components.core.paths import DATA


@dataclass(frozen=True)
class DatasetContent:
    """What a dataset consists of."""

    targets: Mapping[str, str]
    """Path within data/ of each image and license of a source, by member."""
    metadata: pd.DataFrame | None
    attribution: bytes | None
    description: Description | None
    kept: Mapping[str, int] = field(default_factory=dict)
    """Size in bytes of the files of the present data/ that stay, by path."""


def content_of(plan: ImportPlan, source: str | None = None) -> DatasetContent:
    """The dataset that an import of one source makes; `source` is its name for dataset.yaml, None that of the folder or archive."""
    attribution = b"\n".join(plan.attributions) if plan.attributions else None
    return DatasetContent(plan.targets, plan.metadata, attribution, describe(plan, source))


def write_tables(content: DatasetContent, draft: Path) -> None:
    """Write metadata.csv, attribution.txt and dataset.yaml, each if the dataset has it."""
    if content.metadata is not None:
        content.metadata.to_csv(draft / METADATA, index=False)
    if content.attribution is not None:
        (draft / ATTRIBUTION).write_bytes(content.attribution)
    if content.description is not None:
        text = yaml.safe_dump(content.description.document(), sort_keys=False, allow_unicode=True)
        (draft / DATASET_FILE).write_text(text, encoding="utf-8")


def keep_files(names: Iterable[str], draft: Path) -> None:
    """Put these files of data/ into the draft, as hard links where the file system allows it, else as copies. Files that the draft has
    already stay as they are. Nothing may write into a file of the draft in place, since data/ shares it."""
    for name in names:
        source, target = DATA / name, draft / name
        if target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            _copy(source, target)  # DVC's link into its cache: a link to it would be relative to the wrong folder
            continue
        try:
            os.link(source, target)
        except OSError:  # another file system, one without hard links, or too many of them
            _copy(source, target)


def _copy(source: Path, target: Path) -> None:
    partial = target.with_name(".kept.partial")
    shutil.copyfile(source, partial)
    partial.replace(target)
