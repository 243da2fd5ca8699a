"""Plans how many views each image gets, and renders them."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from components.augmentation import transforms
from components.imaging import images
from components.imaging.images import Pixels
from components.imaging.tfrecords import View, as_png
from components.runtime.params import Augment


class Planned(NamedTuple):
    """An image and its number of views; `path` is relative to the dataset's folder."""

    path: str
    diagnosis: str
    views: int


def views_per_image(counts: dict[str, int], views: int, max_views: int) -> dict[str, int]:
    """Views per image for each class, so that all classes have about as many views as the largest, limited by `max_views`."""
    largest = max(counts.values())
    return {name: min(max_views, round(views * largest / count)) for name, count in counts.items() if count}


def plan(rows: pd.DataFrame, views: dict[str, int], seed: int) -> list[Planned]:
    """Shuffle the images and assign each the number of views of its class."""
    mixed = rows.sample(frac=1, random_state=seed)
    return [Planned(row.path, row.diagnosis, views[row.diagnosis]) for row in mixed.itertuples()]


def clean(root: Path, size: int, resolution: int | None, image: Planned) -> list[View]:
    """The unaugmented view of an image, as served, number 0."""
    pixels = images.read((root / image.path).read_bytes(), size, resolution)
    return [View(as_png(pixels), image.diagnosis, image.path, 0)]


def augmented(root: Path, size: int, resolution: int | None, params: Augment, seed: int, image: Planned) -> list[View]:
    """Render the planned views of an image, ordered by number."""
    pictures = pictures_of(root, size, resolution, params, seed, image)
    return [View(as_png(pixels), image.diagnosis, image.path, number) for number, pixels in enumerate(pictures)]


def pictures_of(root: Path, size: int, resolution: int | None, params: Augment, seed: int, image: Planned) -> list[Pixels]:
    """Render the planned views of an image as pixels, each with its own random generator."""
    original = images.picture((root / image.path).read_bytes(), size, resolution)
    return [transforms.render(original, size, params, transforms.generator(seed, image.path, number)) for number in range(image.views)]
