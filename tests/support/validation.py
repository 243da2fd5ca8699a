"""Validation of a small dataset without the stage."""

from pathlib import Path

import pandas as pd

from components import validate
from components.data_quality import dataset, decisions
from components.data_quality.scan import scan
from components.runtime.params import Validate


def audit_folder(root: Path, limits: Validate, table: pd.DataFrame | None = None):
    """Audit a dataset as the stage does; return the catalog indexed by path, the findings and their table."""
    scans = scan(root, dataset.list_files(root), root.parent / "scans")
    table = decisions.load_decisions(Path("nowhere")) if table is None else table
    frame, findings, findings_table = validate.audit_dataset(root, scans, table, limits)
    return frame.set_index("path"), findings, findings_table
