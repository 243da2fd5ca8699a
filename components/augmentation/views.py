"""Plans how many views each image gets, and renders them."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from components.augmentation import transforms
from components.imaging import images
from components.imaging.images import Pixels
from components.imaging.tfrecords import View, as_png
from components.runtime.params import Augment


class PlannedImage(NamedTuple):
    """An image and its number of views; `path` is relative to the dataset's folder."""

    path: str
    diagnosis: str
    views: int


def views_per_image(counts: dict[str, int], views: int, max_views: int) -> dict[str, int]:
    """Views per image for each class, so that all classes have about as many views as the largest, limited by `max_views`."""
    largest = max(counts.values())
    return {name: min(max_views, round(views * largest / count)) for name, count in counts.items() if count}


def plan_views(rows: pd.DataFrame, views: dict[str, int], seed: int) -> list[PlannedImage]:
    """Shuffle the images and assign each the number of views of its class."""
    mixed = rows.sample(frac=1, random_state=seed)
    return [PlannedImage(row.path, row.diagnosis, views[row.diagnosis]) for row in mixed.itertuples()]


def render_clean_view(root: Path, size: int, resolution: int | None, image: PlannedImage) -> list[View]:
    """The unaugmented view of an image, as served, number 0."""
    pixels = images.load_pixels((root / image.path).read_bytes(), size, resolution)
    return [View(as_png(pixels), image.diagnosis, image.path, 0)]


def render_augmented_view(root: Path, size: int, resolution: int | None, params: Augment, seed: int, image: PlannedImage) -> list[View]:
    """Render the planned views of an image, ordered by number."""
    pictures = render_views(root, size, resolution, params, seed, image)
    return [View(as_png(pixels), image.diagnosis, image.path, number) for number, pixels in enumerate(pictures)]


def render_views(root: Path, size: int, resolution: int | None, params: Augment, seed: int, image: PlannedImage) -> list[Pixels]:
    """Render the planned views of an image as pixels, each with its own random generator."""
    original = images.load_square_image((root / image.path).read_bytes(), size, resolution)
    return [
        transforms.render(original, size, params, transforms.random_generator(seed, image.path, number)) for number in range(image.views)
    ]
