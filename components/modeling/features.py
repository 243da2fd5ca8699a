"""Computes pooled features of the base for the views in the shards."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from components.imaging import tfrecords
from components.modeling import classifier

if TYPE_CHECKING:
    import keras


def pooled_batches(
    extractor: "keras.Model", split: str, batch_size: int = 64, max_views: int | None = None
) -> Iterator[tuple[dict[str, np.ndarray], NDArray[np.float32]]]:
    """Yield batches of a split in the shards' order with their features; `max_views`: only that many views of each image."""
    pooled_of = classifier.inference_function(extractor)
    for batch in tfrecords.iter_batches(split, batch_size=batch_size, max_views=max_views):
        yield batch, pooled_of(batch["pixels"])
