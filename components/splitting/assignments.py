"""The split of each image, versioned in git as splits/assignments.csv, so that an image stays in its split when the dataset changes.

Columns: pixels_sha256 (the hash of the decoded pixels, which survives another file name or format) and split. The file also has images
that are not in the present dataset: an image that is excluded for a while, or a dataset that comes back, keeps its split.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from components.core.catalog import SPLIT_NAMES
from components.core.errors import LesionflowError
from components.core.files import atomic_write

ASSIGNMENTS = Path("splits/assignments.csv")
COLUMNS = ["pixels_sha256", "split"]
HASH = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class KeptGroups:
    """Groups with an image whose split is known.

    `splits`: the split of each of these groups. `joined`: those whose images were in several splits; they are in train.
    """

    splits: dict[str, str]
    joined: frozenset[str]


def load_assignments(path: Path = ASSIGNMENTS) -> dict[str, str]:
    """Read the split of each image by the hash of its pixels; empty if the file does not exist.

    Raises:
        LesionflowError: the file is not such a table; the message names the line and how to go on.
    """
    if not path.exists():
        return {}
    known: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            table = csv.reader(stream)
            _require(next(table, []) == COLUMNS, path, 1, f"the columns must be {','.join(COLUMNS)}")
            for row in table:
                _require(len(row) == len(COLUMNS), path, table.line_num, f"found {','.join(row)!r}, not {' and '.join(COLUMNS)}")
                image, split = row
                _require(HASH.fullmatch(image) is not None, path, table.line_num, f"{image!r} is not a hash of 64 hex digits")
                _require(split in SPLIT_NAMES, path, table.line_num, f"the split must be {', '.join(SPLIT_NAMES)}, found {split!r}")
                first = known.setdefault(image, split)
                _require(first == split, path, table.line_num, f"{image} is in {split}, and in {first} on a line before")
    except (csv.Error, UnicodeDecodeError) as fault:
        raise LesionflowError(f"{path} is not a CSV table in UTF-8: {fault}. {_way_out(path)}") from None
    return known


def _require(condition: bool, path: Path, line: int, problem: str) -> None:
    if not condition:
        raise LesionflowError(f"{path}, line {line}: {problem}. {_way_out(path)}")


def _way_out(path: Path) -> str:
    return (
        f"Correct the file, restore it with `git checkout -- {path.as_posix()}`,"
        " or set split.redeal: true in params.yaml to split all images again."
    )


def write_assignments(known: Mapping[str, str], path: Path = ASSIGNMENTS) -> None:
    """Write the split of each image, sorted by hash, so that git shows only the images that changed."""
    with atomic_write(path) as draft, draft.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows(sorted(known.items()))


def find_kept_groups(files: pd.DataFrame, known: Mapping[str, str]) -> KeptGroups:
    """Find the groups that keep their split.

    Args:
        files: columns group and pixels_sha256, one row per file, also of excluded files: their groups keep their split too.
        known: the split of images by the hash of their pixels.
    """
    splits = files["pixels_sha256"].map(known)
    seen = splits.dropna().groupby(files["group"]).agg(["first", "nunique"])
    joined = frozenset(seen.index[seen["nunique"] > 1])
    return KeptGroups({group: "train" if group in joined else split for group, split in seen["first"].items()}, joined)
