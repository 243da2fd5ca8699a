"""Render the training views, and the clean validation and test images, as TFRecord shards.

Reads build/splits.parquet and data/. Writes build/shards/{train,validation,test}/, build/shards/resolution.json, which says what
resolution every picture was brought to first, and reports/augment/views.png.
Only training images are augmented; where `max_views` allows, rarer classes get more views of each image.
Images are rendered on every core and written as they come, in the plan's order, so memory does not grow with their number.
"""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from components import catalog, figures, images, rendering
from components.catalog import SIDES
from components.classes import CLASSES
from components.files import replacing, write_json
from components.images import Pixels
from components.paths import DATA, REPORTS, RESOLUTION, SHARDS
from components.records import View, Writer, as_png
from components.settings import Augment, Settings, load
from components.stage import run

PREVIEW = REPORTS / "augment"
PREVIEW_VIEWS = 8
COARSEST = 5
"""Per cent of the training images that may be coarser than the one resolution of all."""
CORES = os.cpu_count() or 1
AHEAD = 4 * CORES
"""Images under way at once: enough that no core waits, few enough to be done with soon when the stage is interrupted."""


class Planned(NamedTuple):
    """An image, and how many views of it are to be rendered; `path` is relative to the dataset's folder."""

    path: str
    diagnosis: str
    views: int


def views_per_image(counts: dict[str, int], views: int, max_views: int) -> dict[str, int]:
    """Views of each image of each class, so that a class's views come as near the largest class's as `max_views` allows."""
    largest = max(counts.values())
    return {name: min(max_views, round(views * largest / count)) for name, count in counts.items() if count}


def plan(rows: pd.DataFrame, views: dict[str, int], seed: int) -> list[Planned]:
    """The images in random order, each with the views of its class."""
    mixed = rows.sample(frac=1, random_state=seed)
    return [Planned(row.path, row.diagnosis, views[row.diagnosis]) for row in mixed.itertuples()]


def one_resolution(asked: Literal["auto"] | int | None, root: Path, rows: pd.DataFrame) -> int | None:
    """`images.resolution` in pixels. auto: the short side that all but COARSEST per cent of these images have at least."""
    if asked != "auto":
        return asked
    sides = [min(images.open_checked((root / path).read_bytes()).size) for path in rows["path"]]
    return int(np.percentile(sides, COARSEST, method="lower"))


def clean(root: Path, size: int, resolution: int | None, image: Planned) -> list[View]:
    """The one view of an image that serving sees, number 0."""
    pixels = images.read((root / image.path).read_bytes(), size, resolution)
    return [View(as_png(pixels), image.diagnosis, image.path, 0)]


def augmented(root: Path, size: int, resolution: int | None, knobs: Augment, seed: int, image: Planned) -> list[View]:
    """The planned views of an image, by number."""
    pictures = pictures_of(root, size, resolution, knobs, seed, image)
    return [View(as_png(pixels), image.diagnosis, image.path, number) for number, pixels in enumerate(pictures)]


def pictures_of(root: Path, size: int, resolution: int | None, knobs: Augment, seed: int, image: Planned) -> list[Pixels]:
    """The planned views of an image as pixels, each drawn by its own generator."""
    original = images.picture((root / image.path).read_bytes(), size, resolution)
    return [rendering.render(original, size, knobs, rendering.generator(seed, image.path, number)) for number in range(image.views)]


def streamed(pool: Executor, look: Callable[[Planned], list[View]], planned: Sequence[Planned]) -> Iterator[View]:
    """The views of each image in the order planned, with at most AHEAD images under way in the pool."""
    under_way: deque[Future[list[View]]] = deque()
    for image in planned:
        if len(under_way) == AHEAD:
            yield from under_way.popleft().result()
        under_way.append(pool.submit(look, image))
    while under_way:
        yield from under_way.popleft().result()


def workers(count: int = CORES) -> ProcessPoolExecutor:
    """Processes forked from one that has imported this module and not TensorFlow, whose threads a fork may hang on."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["components.augment"])
    return ProcessPoolExecutor(count, context, initializer=follow_parent)


def follow_parent() -> None:
    """Leave Ctrl-C to the stage's process to act on, and end when it ends, even where it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stage = parent_process()
    if stage is None:
        raise RuntimeError("only a process that multiprocessing started has a parent to follow")

    def end_with_stage() -> None:
        stage.join()
        os._exit(1)

    threading.Thread(target=end_with_stage, daemon=True).start()


def preview(rows: pd.DataFrame, root: Path, size: int, resolution: int | None, knobs: Augment, seed: int) -> dict[str, list[Pixels]]:
    """For each class its first training image, as serving sees it, then the first views of it."""
    grid = {}
    for row in rows.groupby("diagnosis").head(1).sort_values("diagnosis").itertuples():
        original = images.read((root / row.path).read_bytes(), size, resolution)
        views = pictures_of(root, size, resolution, knobs, seed, Planned(row.path, row.diagnosis, PREVIEW_VIEWS))
        grid[row.diagnosis.replace("_", " ")] = [original, *views]
    return grid


def augment(settings: Settings) -> None:
    """Run the stage."""
    knobs, size, seed = settings.augment, settings.base.image_size, settings.seed
    sides = {name: catalog.side(name) for name in SIDES}
    counts = {name: int((sides["train"]["diagnosis"] == name).sum()) for name in CLASSES}
    planned = {"train": plan(sides["train"], views_per_image(counts, knobs.views, knobs.max_views), seed)}
    for name in ("validation", "test"):
        planned[name] = [Planned(row.path, row.diagnosis, 1) for row in sides[name].itertuples()]
    resolution = one_resolution(settings.images.resolution, DATA, sides["train"])
    as_served, varied = partial(clean, DATA, size, resolution), partial(augmented, DATA, size, resolution, knobs, seed)
    with replacing(SHARDS) as draft, workers() as pool:
        for name, todo in planned.items():
            expected = sum(image.views for image in todo)
            views = streamed(pool, varied if name == "train" else as_served, todo)
            with Writer(draft / name, expected, size, seed) as writer:
                for view in tqdm(views, total=expected, desc=name, unit="view", mininterval=1):
                    writer.write(view)
        write_json(draft / RESOLUTION.name, {"resolution": resolution})
    grid = preview(sides["train"], DATA, size, resolution, knobs, seed)
    with replacing(PREVIEW) as draft:
        draft.mkdir()
        figures.picture_grid(list(grid.values()), list(grid), draft / "views.png")


if __name__ == "__main__":
    run(lambda: augment(load()), __doc__, tensorflow=True)
