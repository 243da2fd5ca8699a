"""How many views each image gets, in which order, and the views themselves."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from components.augmentation import transforms
from components.imaging import images
from components.imaging.images import Pixels
from components.imaging.tfrecords import View, as_png
from components.runtime.params import Augment


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


def clean(root: Path, size: int, resolution: int | None, image: Planned) -> list[View]:
    """The one view of an image that serving sees, number 0."""
    pixels = images.read((root / image.path).read_bytes(), size, resolution)
    return [View(as_png(pixels), image.diagnosis, image.path, 0)]


def augmented(root: Path, size: int, resolution: int | None, params: Augment, seed: int, image: Planned) -> list[View]:
    """The planned views of an image, by number."""
    pictures = pictures_of(root, size, resolution, params, seed, image)
    return [View(as_png(pixels), image.diagnosis, image.path, number) for number, pixels in enumerate(pictures)]


def pictures_of(root: Path, size: int, resolution: int | None, params: Augment, seed: int, image: Planned) -> list[Pixels]:
    """The planned views of an image as pixels, each drawn by its own generator."""
    original = images.picture((root / image.path).read_bytes(), size, resolution)
    return [transforms.render(original, size, params, transforms.generator(seed, image.path, number)) for number in range(image.views)]
