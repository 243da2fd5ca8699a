"""Images whose label a cross-validation doubts, as findings for the review. Only a person's decision changes anything."""

import pandas as pd

from components.core.catalog import load_usable_images
from components.core.paths import CROSS_VALIDATION
from components.core.reports.cross_validation import CrossValidation

KIND = "label_suspect"
MEANING = "cross-validation names another class for the image, in every repeat"
ACTION = "use"
"""What is done without a decision."""
COLUMNS = ["kind", "number", "rank", "path", "then", "left_out", "says", "sha256", "diagnosis"]


def read_suspects(first_number: int) -> pd.DataFrame:
    """The suspects of the last cross-validation in the columns of build/findings.csv; none without one.

    Images that are left out now, or have another diagnosis than they had then, are passed over.

    Args:
        first_number: number of the first of these findings.
    """
    if not CROSS_VALIDATION.exists():
        return pd.DataFrame(columns=COLUMNS)
    catalog = load_usable_images().set_index("path")
    rows: list[tuple[str | float, ...]] = []
    for suspect in CrossValidation.read(CROSS_VALIDATION).suspects:
        if suspect.path in catalog.index and catalog.at[suspect.path, "diagnosis"] == suspect.diagnosis:
            named, sha256 = suspect.named.replace("_", " "), str(catalog.at[suspect.path, "sha256"])
            says = f"{named} is named in every repeat; its own class has a mean probability of {suspect.probability:.3f}"
            rows.append((KIND, first_number + len(rows), 0.0, suspect.path, ACTION, "", says, sha256, suspect.diagnosis))
    return pd.DataFrame(rows, columns=COLUMNS)
