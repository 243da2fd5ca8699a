"""Renders planned images into shards, on all cores and in a fixed order, so memory does not grow with their number."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from components.augmentation import views
from components.augmentation.views import PlannedImage, ViewRenderer
from components.imaging.tfrecords import ShardWriter
from components.runtime.parallel import stream_map, workers

AUGMENTED = "train"
"""The split whose images are rendered as augmented views; those of all others are rendered as they are served."""


def render_shards(folder: Path, planned: Mapping[str, Sequence[PlannedImage]], renderer: ViewRenderer, outputs: Sequence[str]) -> None:
    """Write a folder of shards for each split.

    Args:
        folder: in which the folders of the splits are made.
        planned: the images of each split.
        renderer: of their views; its seed also mixes them over the shards.
        outputs: the classes in order.

    Raises:
        LesionflowError: an image cannot be read, or the disk is full.
    """
    with workers(views.__name__) as pool:
        for name, images in planned.items():
            expected = sum(image.views for image in images)
            rendered = stream_map(pool, renderer.augmented_views if name == AUGMENTED else renderer.clean_views, images)
            with ShardWriter(folder / name, outputs, expected, renderer.model_input.size, renderer.seed) as writer:
                for view in tqdm(rendered, total=expected, desc=name, unit="view", mininterval=1):
                    writer.write(view)
