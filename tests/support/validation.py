"""Validation of a small dataset, without the stage around it."""

from pathlib import Path

import pandas as pd

from components import validate
from components.data_quality import dataset, decisions
from components.data_quality.scan import scan
from components.runtime.params import Validate


def judged(root: Path, limits: Validate, table: pd.DataFrame | None = None):
    """The catalog indexed by path, the findings and the findings' table, as the stage makes them."""
    scans = scan(root, dataset.list_files(root), root.parent / "scans")
    table = decisions.load_decisions(Path("nowhere")) if table is None else table
    frame, found, listed = validate.audit_dataset(root, scans, table, limits)
    return frame.set_index("path"), found, listed
