"""Plans how many views each image gets, and renders them."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from components.augmentation import transforms
from components.imaging import images
from components.imaging.images import Pixels
from components.imaging.model_input import ModelInput
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


@dataclass(frozen=True)
class ViewRenderer:
    """Renders the views of images in the folder `root` for a model. It is pickled for the worker processes."""

    root: Path
    model_input: ModelInput
    params: Augment
    seed: int

    def clean_views(self, image: PlannedImage) -> list[View]:
        """The unaugmented view of an image, as served, number 0."""
        return [View(as_png(self.clean_pixels(image.path)), image.diagnosis, image.path, 0)]

    def augmented_views(self, image: PlannedImage) -> list[View]:
        """The planned views of an image, ordered by number."""
        return [View(as_png(pixels), image.diagnosis, image.path, number) for number, pixels in enumerate(self.augmented_pixels(image))]

    def clean_pixels(self, path: str) -> Pixels:
        """An image without augmentation: uint8 (size, size, 3)."""
        return images.load_pixels((self.root / path).read_bytes(), self.model_input.size, self.model_input.resolution)

    def augmented_pixels(self, image: PlannedImage) -> list[Pixels]:
        """The planned views of an image, uint8 (size, size, 3), each with its own random generator."""
        size = self.model_input.size
        original = images.load_square_image((self.root / image.path).read_bytes(), size, self.model_input.resolution)
        generators = (transforms.random_generator(self.seed, image.path, number) for number in range(image.views))
        return [transforms.render(original, size, self.params, generator) for generator in generators]
