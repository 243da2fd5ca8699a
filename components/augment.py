"""Render the training views, and the clean validation and test images, as TFRecord shards.

Reads build/splits.parquet and data/. Writes build/shards/{train,validation,test}/, build/shards/resolution.json with the resolution
that every image is first downsampled to, and reports/augment/views.png.
Only training images are augmented; rarer classes get more views of each image, up to `max_views_per_image`.
"""

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from components.augmentation.preview import write_preview
from components.augmentation.shards import render_shards
from components.augmentation.views import PlannedImage, ViewRenderer, plan_views, views_per_image
from components.core import catalog, plotting
from components.core.catalog import SPLIT_NAMES
from components.core.files import atomic_write, write_json
from components.core.label_set import LabelSet
from components.core.paths import DATA, REPORTS, RESOLUTION, SHARDS
from components.imaging import headers
from components.imaging.model_input import ModelInput
from components.runtime.params import Settings
from components.runtime.params_file import load
from components.runtime.stage import run

PREVIEW = REPORTS / "augment"
COARSEST = 5
"""Percentage of training images that may have a lower resolution than `images.resolution: auto` selects."""


def one_resolution(requested: Literal["auto"] | int | None, root: Path, rows: pd.DataFrame) -> int | None:
    """`images.resolution` in pixels. auto: the COARSEST-th percentile of the images' short sides."""
    if requested != "auto":
        return requested
    short_sides = [min(headers.open_header((root / path).read_bytes()).size) for path in rows["path"]]
    return int(np.percentile(short_sides, COARSEST, method="lower"))


def augment(settings: Settings) -> None:
    """Run the stage."""
    params, seed = settings.augment, settings.seed
    by_split, outputs = {name: catalog.load_split(name) for name in SPLIT_NAMES}, LabelSet.load().outputs
    counts = {name: int((by_split["train"]["diagnosis"] == name).sum()) for name in outputs}
    planned = {"train": plan_views(by_split["train"], views_per_image(counts, params.views_per_image, params.max_views_per_image), seed)}
    for name in ("validation", "test"):
        planned[name] = [PlannedImage(row.path, row.diagnosis, 1) for row in by_split[name].itertuples()]
    resolution = one_resolution(settings.images.resolution, DATA, by_split["train"])
    renderer = ViewRenderer(DATA, ModelInput(settings.base.image_size, resolution), params, seed)
    with atomic_write(SHARDS) as draft:
        render_shards(draft, planned, renderer, outputs)
        write_json(draft / RESOLUTION.name, {"resolution": resolution})
    grid = write_preview(by_split["train"], renderer)
    with atomic_write(PREVIEW) as draft:
        draft.mkdir()
        plotting.image_grid(list(grid.values()), list(grid), draft / "views.png")


if __name__ == "__main__":
    run(lambda: augment(load()), __doc__, tensorflow=True)
