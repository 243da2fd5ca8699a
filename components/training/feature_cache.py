"""Caches the outputs of the frozen blocks on disk when views repeat unchanged: computed once, read in every epoch."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from components.core.errors import LesionflowError
from components.core.files import atomic_write, read_json, write_json
from components.core.paths import SHARDS
from components.imaging import tfrecords
from components.modeling import backbone
from components.modeling.classifier import get_extractor, inference_function
from components.training import input_pipeline

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

CACHED_SPLITS = ("train", "validation")
BATCH = 64
"""Batch size for the frozen blocks, in views."""


def cut_layer_index(base: "keras.Model") -> int | None:
    """Number of the last frozen layer whose output is the only input of the layers after it.

    Dropout layers do not count as frozen, since their outputs differ each time.

    Returns:
        None if no layer with weights is at or before it.
    """
    import keras

    layers = base.layers
    number = {layer.name: at for at, layer in enumerate(layers)}
    reads = [min((number[source._keras_history.operation.name] for source in _inputs(layer)), default=0) for layer in layers]
    moving = (at for at, layer in enumerate(layers) if layer.trainable_weights or isinstance(layer, keras.layers.Dropout))
    for at in range(next(moving, len(layers) - 1) - 1, 0, -1):
        if min(reads[at + 1 :]) == at and any(layer.weights for layer in layers[: at + 1]):
            return at
    return None


def _inputs(layer: "keras.layers.Layer") -> "Sequence[keras.KerasTensor]":
    return layer.input if isinstance(layer.input, list | tuple) else [layer.input]


def frozen_part(classifier: "keras.Model", at: int) -> "keras.Model":
    """Model from pixels, float32 (n, size, size, 3) in 0 to 255, to the output of layer `at` of the base; layers are shared."""
    import keras

    base = backbone.get_base(classifier)
    replacements = {"base": keras.Model(base.input, base.layers[at].output), "features": keras.layers.Identity()}
    extractor = get_extractor(classifier)
    return keras.models.clone_model(extractor, clone_function=lambda layer: replacements.get(layer.name, layer))


def trainable_part(classifier: "keras.Model", at: int) -> "keras.Model":
    """Model from the output of layer `at` of the base to logits; layers are shared, including the trainable ones."""
    import keras

    base = backbone.get_base(classifier)
    maps = keras.Input(base.layers[at].output.shape[1:], name="maps")
    features = classifier.get_layer("features")(keras.Model(base.layers[at].output, base.output)(maps))
    return keras.Model(maps, classifier.get_layer("head")(features))


@dataclass(frozen=True)
class FeatureCache:
    """Feature maps of the training and validation views as float16 .npy in `folder`, in the order of the shards."""

    folder: Path

    @property
    def size(self) -> int:
        """Size on disk in bytes."""
        return sum(path.stat().st_size for path in self.folder.iterdir())

    def batches(self, split: str, options: input_pipeline.BatchOptions, shuffle_seed: int | None = None) -> "tf.data.Dataset":
        """Same batches as `input_pipeline.training_batches`, with feature maps, float32 (n, height, width, channels), instead of pixels.

        Raises:
            ValueError: the options change the views, whose feature maps are cached as they are.
        """
        import tensorflow as tf

        if (options.symmetry_seed, options.resize_to) != (None, None):
            raise ValueError("cached feature maps are of unchanged views")

        maps = np.load(self.folder / f"{split}.npy", mmap_mode="r")
        classes = tf.constant(np.load(self.folder / f"{split}.classes.npy"))
        labeled = input_pipeline.weight_mapper(options.class_weights)

        def pair(places: "tf.Tensor") -> "tuple[tf.Tensor, tf.Tensor, tf.Tensor]":
            rows = tf.numpy_function(lambda at: maps[at], [places], tf.float16, stateful=False)
            return tf.cast(tf.ensure_shape(rows, (None, *maps.shape[1:])), tf.float32), *labeled(tf.gather(classes, places))

        places = input_pipeline.shuffled_indices(read_json(self.folder / "kept.json")["shard_sizes"][split], shuffle_seed)
        return places.batch(options.batch_size).map(pair).prefetch(2)


def build_feature_cache(frozen: "keras.Model", folder: Path, identity: str, shards: Path = SHARDS) -> FeatureCache:
    """Compute the outputs of the frozen part for all views, unless `folder` already contains them.

    Args:
        frozen: the network below the cut, as `frozen_part` returns it.
        folder: folder of the cache, written atomically.
        identity: covers everything that determines the feature maps; a cache with a different identity is rebuilt.
        shards: folder of the views.

    Raises:
        LesionflowError: the disk has too little free space, or values exceed the range of float16.
    """
    marker = folder / "kept.json"
    if marker.exists() and read_json(marker)["identity"] == identity:
        print("reusing cached feature maps")
        return FeatureCache(folder)
    views = {split: tfrecords.view_count(split, shards) for split in CACHED_SPLITS}
    needed = 2 * sum(views.values()) * int(np.prod(frozen.output_shape[1:]))
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    free = shutil.disk_usage(folder.parent).free
    if needed > free:
        raise LesionflowError(
            f"the feature cache needs {needed / 1e9:.1f} GB, but {folder.parent} has only {free / 1e9:.1f} GB free. Free some space,"
            " set finetune.unfreeze_from to a later block, or disable the cache with finetune.random_dihedral: true."
        )
    with atomic_write(folder) as draft:
        draft.mkdir()
        for split, count in views.items():
            with (draft / f"{split}.npy").open("wb") as stream:
                shape = (count, *frozen.output_shape[1:])
                np.lib.format.write_array_header_1_0(stream, {"descr": "<f2", "fortran_order": False, "shape": shape})
                np.save(draft / f"{split}.classes.npy", _write(frozen, split, shards, stream))
        sizes = {split: tfrecords.shard_sizes(split, shards) for split in CACHED_SPLITS}
        write_json(draft / "kept.json", {"identity": identity, "shard_sizes": sizes})
    return FeatureCache(folder)


def _write(frozen: "keras.Model", split: str, shards: Path, stream: IO[bytes]) -> np.ndarray:
    """Append the feature maps of a split's views to the stream; return the views' classes. A memory map is not used, since writing to
    it on a full disk kills the process."""
    compute, classes = inference_function(frozen), []
    for batch in tfrecords.iter_batches(split, shards, BATCH):
        maps = compute(batch["pixels"]).astype(np.float16)
        if not np.isfinite(maps).all():
            raise LesionflowError(
                f"outputs of {frozen.layers[-1].name} exceed float16. Disable the feature cache with finetune.random_dihedral: true."
            )
        stream.write(maps.tobytes())
        classes.append(batch["class"])
    return np.concatenate(classes)
