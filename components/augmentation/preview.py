"""Preview of the augmentation: one image of each class with some of its views."""

import pandas as pd

from components.augmentation.views import PlannedImage, ViewRenderer
from components.imaging.images import Pixels

PREVIEW_VIEWS = 8


def write_preview(rows: pd.DataFrame, renderer: ViewRenderer) -> dict[str, list[Pixels]]:
    """For each class, the first training image as served, followed by its first views."""
    grid = {}
    for row in rows.groupby("diagnosis").head(1).sort_values("diagnosis").itertuples():
        views = renderer.augmented_pixels(PlannedImage(row.path, row.diagnosis, PREVIEW_VIEWS))
        grid[row.diagnosis.replace("_", " ")] = [renderer.clean_pixels(row.path), *views]
    return grid
