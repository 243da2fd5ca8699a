"""Validation of a small dataset without the stage."""

from pathlib import Path

import pandas as pd

from components import validate
from components.data_quality import dataset, decisions
from components.data_quality.scan import scan
from components.runtime.validation_params import Validate


def audit_folder(root: Path, limits: Validate, table: pd.DataFrame | None = None, labels: str = "isic9"):
    """Audit a dataset as the stage does; return the catalog indexed by path, the findings and their table."""
    scans = scan(root, dataset.list_files(root), root.parent / "scans")
    decided = decisions.load_decisions(Path("nowhere")) if table is None else table
    audit = validate.audit_dataset(*validate.label_files(root, scans.table, decided, labels), scans, limits)
    return audit.catalog.set_index("path"), audit.findings, audit.table
