"""Preview of the augmentation: one image of each class with some of its views."""

from pathlib import Path

import pandas as pd

from components.augmentation.views import PlannedImage, render_views
from components.imaging import images
from components.imaging.images import Pixels
from components.runtime.params import Augment

PREVIEW_VIEWS = 8


def write_preview(rows: pd.DataFrame, root: Path, size: int, resolution: int | None, params: Augment, seed: int) -> dict[str, list[Pixels]]:
    """For each class, the first training image as served, followed by its first views."""
    grid = {}
    for row in rows.groupby("diagnosis").head(1).sort_values("diagnosis").itertuples():
        original = images.load_pixels((root / row.path).read_bytes(), size, resolution)
        views = render_views(root, size, resolution, params, seed, PlannedImage(row.path, row.diagnosis, PREVIEW_VIEWS))
        grid[row.diagnosis.replace("_", " ")] = [original, *views]
    return grid
