"""Render the training views, and the clean validation and test images, as TFRecord shards.

Reads build/splits.parquet and data/. Writes build/shards/{train,validation,test}/ and reports/augment/views.png.
Only training images are augmented; rarer classes get more views of each image, so that all classes are seen as often.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from tqdm import tqdm

from components import catalog, figures, images
from components.catalog import SIDES
from components.classes import CLASSES
from components.determinism import seed_everything
from components.files import replacing
from components.paths import DATA, REPORTS, SHARDS
from components.records import View, Writer
from components.settings import Augment, Settings, load
from components.stage import run

if TYPE_CHECKING:
    import keras

PREVIEW = REPORTS / "augment"
PREVIEW_VIEWS = 8
BATCH = 64


def views_per_image(counts: dict[str, int], views: int, max_views: int) -> dict[str, int]:
    """Views of each image of each class, so that a class's views come as near the largest class's as `max_views` allows."""
    largest = max(counts.values())
    return {name: min(max_views, round(views * largest / count)) for name, count in counts.items() if count}


def pipeline(knobs: Augment, seed: int) -> "list[keras.layers.Layer]":
    """The augmenting layers, in order; each draws from its own seed, so the same seed gives the same views."""
    import keras

    place = {"fill_mode": "reflect", "interpolation": "bilinear"}
    pixel = {"value_range": (0, 255)}
    turns, slant = knobs.rotation / 360, math.tan(math.radians(knobs.shear))
    layers = [
        keras.layers.RandomFlip("horizontal_and_vertical", seed=seed) if knobs.flips else None,
        keras.layers.RandomRotation(turns, seed=seed + 1, **place) if turns else None,
        keras.layers.RandomTranslation(knobs.shift, knobs.shift, seed=seed + 2, **place) if knobs.shift else None,
        keras.layers.RandomShear(slant, slant, seed=seed + 3, **place) if slant else None,
        keras.layers.RandomZoom((-knobs.zoom, knobs.zoom), seed=seed + 4, **place) if knobs.zoom else None,
        keras.layers.RandomBrightness(knobs.brightness, seed=seed + 5, **pixel) if knobs.brightness else None,
        keras.layers.RandomContrast(knobs.contrast, seed=seed + 6, **pixel) if knobs.contrast else None,
    ]
    return [layer for layer in layers if layer is not None]


def plan(rows: pd.DataFrame, views: dict[str, int], seed: int) -> pd.DataFrame:
    """A row per view to render: path, diagnosis, number; in random order of images, an image's views together."""
    mixed = rows.sample(frac=1, random_state=seed)
    repeated = mixed.loc[mixed.index.repeat(mixed["diagnosis"].map(views)), ["path", "diagnosis"]]
    return repeated.assign(number=repeated.groupby("path").cumcount()).reset_index(drop=True)


def clean(rows: pd.DataFrame, root: Path, size: int) -> Iterator[View]:
    """Each image as it will be seen when served, number 0."""
    for row in rows.itertuples():
        yield View(images.read((root / row.path).read_bytes(), size), row.diagnosis, row.path, 0)


def augmented(todo: pd.DataFrame, root: Path, size: int, layers: "list[keras.layers.Layer]") -> Iterator[View]:
    """Each planned view, rendered by the layers in batches on a tf.data pipeline."""
    import tensorflow as tf

    def originals() -> Iterator[np.ndarray]:
        last, pixels = None, np.empty((size, size, 3), np.uint8)
        for path in todo["path"]:
            if path != last:
                last, pixels = path, images.read((root / path).read_bytes(), size)
            yield pixels

    def render(batch: "tf.Tensor") -> "tf.Tensor":
        batch = tf.cast(batch, tf.float32)
        for layer in layers:
            batch = layer(batch, training=True)
        return tf.cast(tf.round(tf.clip_by_value(batch, 0, 255)), tf.uint8)

    signature = tf.TensorSpec((size, size, 3), tf.uint8)
    rendered = tf.data.Dataset.from_generator(originals, output_signature=signature).batch(BATCH).map(render).prefetch(2).unbatch()
    for row, pixels in zip(todo.itertuples(), rendered.as_numpy_iterator(), strict=True):
        yield View(pixels, row.diagnosis, row.path, row.number)


def preview(rows: pd.DataFrame, root: Path, size: int, layers: "list[keras.layers.Layer]") -> list[list[np.ndarray]]:
    """For each class one training image, as it is, then views of it."""
    chosen = rows.groupby("diagnosis").head(1)
    todo = chosen.loc[chosen.index.repeat(PREVIEW_VIEWS)].assign(number=0)
    rendered = [view.pixels for view in augmented(todo, root, size, layers)]
    originals = [view.pixels for view in clean(chosen, root, size)]
    return [[original, *rendered[at * PREVIEW_VIEWS : (at + 1) * PREVIEW_VIEWS]] for at, original in enumerate(originals)]


def augment(settings: Settings) -> None:
    """Run the stage."""
    knobs, size = settings.augment, settings.base.image_size
    seed_everything(settings.seed)
    sides = {name: catalog.side(name) for name in SIDES}
    counts = {name: int((sides["train"]["diagnosis"] == name).sum()) for name in CLASSES}
    views = views_per_image(counts, knobs.views, knobs.max_views)
    todo = plan(sides["train"], views, settings.seed)
    layers = pipeline(knobs, settings.seed)
    streams = {"train": (len(todo), augmented(todo, DATA, size, layers))}
    streams |= {name: (len(sides[name]), clean(sides[name], DATA, size)) for name in ("validation", "test")}
    with replacing(SHARDS) as draft:
        for name, (expected, stream) in streams.items():
            with Writer(draft / name, expected, size, settings.seed) as writer:
                for view in tqdm(stream, total=expected, desc=name, unit="view", mininterval=1):
                    writer.write(view)
    grid = preview(sides["train"], DATA, size, pipeline(knobs, settings.seed))
    with replacing(PREVIEW) as draft:
        draft.mkdir()
        rows = sorted(sides["train"]["diagnosis"].unique())
        figures.picture_grid(grid, [name.replace("_", " ") for name in rows], draft / "views.png")


if __name__ == "__main__":
    run(lambda: augment(load()), __doc__, tensorflow=True)
