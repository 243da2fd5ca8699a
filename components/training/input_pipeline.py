"""tf.data pipelines of training views."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.core.paths import SHARDS
from components.imaging.tfrecords import interleave_shards, read_views

if TYPE_CHECKING:
    import tensorflow as tf


def shuffled_indices(sizes: Sequence[int], shuffle_seed: int | None = None) -> "tf.data.Dataset":
    """Positions (int64) of the views in the fixed order of `read_views`, in the order that `read_views` yields with `shuffle_seed`.

    Args:
        sizes: views per shard, from `shard_sizes`.
        shuffle_seed: same as for `read_views`.
    """
    import tensorflow as tf

    ends = np.cumsum(sizes, dtype=np.int64)
    shards = tf.data.Dataset.from_tensor_slices((ends - sizes, ends))
    return interleave_shards(shards, tf.data.Dataset.range, shuffle_seed).apply(tf.data.experimental.assert_cardinality(int(ends[-1])))


def random_dihedral(pixels: "tf.Tensor", seed: "tf.Tensor") -> "tf.Tensor":
    """Apply one of the eight flips and 90-degree rotations, selected by `seed`, int64 (2,), to a square image; pixels are not resampled."""
    import tensorflow as tf

    rows, columns, swap = tf.unstack(tf.random.stateless_uniform([3], seed, minval=0, maxval=2, dtype=tf.int32) == 1)
    pixels = tf.cond(rows, lambda: tf.reverse(pixels, [0]), lambda: pixels)
    pixels = tf.cond(columns, lambda: tf.reverse(pixels, [1]), lambda: pixels)
    return tf.cond(swap, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)


def weight_mapper(weights: Mapping[int, float]) -> Callable[["tf.Tensor"], tuple["tf.Tensor", "tf.Tensor"]]:
    """Return a function from targets, int64 (n,), to the targets and their weights, float32 (n,)."""
    import tensorflow as tf

    weight_of_target = tf.constant([weights[target] for target in range(len(weights))], tf.float32)

    def labeled(target: "tf.Tensor") -> tuple["tf.Tensor", "tf.Tensor"]:
        return target, tf.gather(weight_of_target, target)

    return labeled


@dataclass(frozen=True)
class BatchOptions:
    """How views become batches.

    `class_weights`: weight of each target. `symmetry_seed`: if given, `random_dihedral` turns each view, depending on the seed and the
    view's position in the order. `resize_to`: if given, views are downsampled to this size in pixels.
    """

    batch_size: int
    class_weights: Mapping[int, float]
    symmetry_seed: int | None = None
    resize_to: int | None = None


def training_batches(split: str, options: BatchOptions, root: Path = SHARDS, shuffle_seed: int | None = None) -> "tf.data.Dataset":
    """(pixels, target, weight) batches for Keras' `fit`: float32 (n, size, size, 3) in 0 to 255, int (n,), float32 (n,)."""
    import tensorflow as tf

    labeled = weight_mapper(options.class_weights)
    symmetry_seed, resize_to = options.symmetry_seed, options.resize_to

    def pair(batch: dict[str, "tf.Tensor"]) -> tuple["tf.Tensor", "tf.Tensor", "tf.Tensor"]:
        return tf.cast(batch["pixels"], tf.float32), *labeled(batch["class"])

    def reduce(view: dict[str, "tf.Tensor"]) -> dict[str, "tf.Tensor"]:
        return {**view, "pixels": tf.image.resize(view["pixels"], (resize_to, resize_to), method="area")}

    def turn(number: "tf.Tensor", view: dict[str, "tf.Tensor"]) -> dict[str, "tf.Tensor"]:
        return {**view, "pixels": random_dihedral(view["pixels"], tf.stack([tf.constant(symmetry_seed, tf.int64), number]))}

    views = read_views(split, root, shuffle_seed)
    if symmetry_seed is not None:
        views = views.enumerate().map(turn, num_parallel_calls=tf.data.AUTOTUNE)
    if resize_to is not None:
        views = views.map(reduce, num_parallel_calls=tf.data.AUTOTUNE)
    return views.batch(options.batch_size).map(pair).prefetch(2)
