"""Kept maps: what frozen blocks make of a view that comes again unchanged is computed once, and read from disk in every epoch."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from components.core.errors import LesionflowError
from components.core.files import read_json, replacing, write_json
from components.core.paths import SHARDS
from components.imaging import tfrecords
from components.modeling import backbone
from components.modeling.classifier import compiled, extractor_of
from components.training import input_pipeline

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

SIDES = ("train", "validation")
BATCH = 64
"""Views that the frozen blocks are given at once."""


def cut(base: "keras.Model") -> int | None:
    """Number of the last frozen layer whose output is all that the layers after it read.

    Layers that drop units at random count as not frozen: they make something else of a view each time.

    Returns:
        None where no layer with weights lies below such a place.
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


def below(classifier: "keras.Model", at: int) -> "keras.Model":
    """Pixels, float32 (n, size, size, 3) in 0 to 255, to the output of the base's layer of that number; layers are shared."""
    import keras

    base = backbone.base_of(classifier)
    put_instead = {"base": keras.Model(base.input, base.layers[at].output), "features": keras.layers.Identity()}
    extractor = extractor_of(classifier)
    return keras.models.clone_model(extractor, clone_function=lambda layer: put_instead.get(layer.name, layer))


def above(classifier: "keras.Model", at: int) -> "keras.Model":
    """The output of the base's layer of that number to logits; layers are shared, those that are trained among them."""
    import keras

    base = backbone.base_of(classifier)
    maps = keras.Input(base.layers[at].output.shape[1:], name="maps")
    features = classifier.get_layer("features")(keras.Model(base.layers[at].output, base.output)(maps))
    return keras.Model(maps, classifier.get_layer("head")(features))


@dataclass(frozen=True)
class KeptMaps:
    """Maps of the training and validation views as float16 .npy in `folder`, in the order of their shards."""

    folder: Path

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self.folder.iterdir())

    def batches(
        self, side: str, task: str, batch_size: int, weights: dict[int, float], shuffle_seed: int | None = None
    ) -> "tf.data.Dataset":
        """What `records.batches` gives, view by view in the same order, with maps, float32 (n, height, width, channels), for pixels."""
        import tensorflow as tf

        maps = np.load(self.folder / f"{side}.npy", mmap_mode="r")
        classes = tf.constant(np.load(self.folder / f"{side}.classes.npy"))
        labelled = input_pipeline.labels(task, weights)

        def pair(places: "tf.Tensor") -> "tuple[tf.Tensor, tf.Tensor, tf.Tensor]":
            rows = tf.numpy_function(lambda at: maps[at], [places], tf.float16, stateful=False)
            return tf.cast(tf.ensure_shape(rows, (None, *maps.shape[1:])), tf.float32), *labelled(tf.gather(classes, places))

        places = input_pipeline.order(read_json(self.folder / "kept.json")["shard_sizes"][side], shuffle_seed)
        return places.batch(batch_size).map(pair).prefetch(2)


def keep(frozen: "keras.Model", folder: Path, identity: str, shards: Path = SHARDS) -> KeptMaps:
    """Run the frozen part once over every view, unless `folder` holds the whole of what it gave already.

    Args:
        frozen: the network `below` the cut.
        folder: where the maps go, whole or not at all.
        identity: all that decides them; those of another are made anew.
        shards: the views.

    Raises:
        LesionflowError: the disk has no room for them, or they do not fit float16.
    """
    said = folder / "kept.json"
    if said.exists() and read_json(said)["identity"] == identity:
        print("taking up the maps that were kept before training was stopped")
        return KeptMaps(folder)
    views = {side: tfrecords.count(side, shards) for side in SIDES}
    needed = 2 * sum(views.values()) * int(np.prod(frozen.output_shape[1:]))
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    free = shutil.disk_usage(folder.parent).free
    if needed > free:
        raise LesionflowError(
            f"the maps of the frozen blocks take {needed / 1e9:.1f} GB and {folder.parent} has {free / 1e9:.1f} GB left: free some space,"
            " set finetune.unfreeze_from to a later block, or finetune.symmetries to true, which keeps none"
        )
    with replacing(folder) as draft:
        draft.mkdir()
        for side, count in views.items():
            with (draft / f"{side}.npy").open("wb") as stream:
                shape = (count, *frozen.output_shape[1:])
                np.lib.format.write_array_header_1_0(stream, {"descr": "<f2", "fortran_order": False, "shape": shape})
                np.save(draft / f"{side}.classes.npy", _write(frozen, side, shards, stream))
        sizes = {side: tfrecords.shard_sizes(side, shards) for side in SIDES}
        write_json(draft / "kept.json", {"identity": identity, "shard_sizes": sizes})
    return KeptMaps(folder)


def _write(frozen: "keras.Model", side: str, shards: Path, stream: IO[bytes]) -> np.ndarray:
    """Append the maps of a side's views to the stream; returns the views' classes. Not into a memory map: a full disk kills there."""
    compute, classes = compiled(frozen), []
    for batch in tfrecords.in_order(side, shards, BATCH):
        maps = compute(batch["pixels"]).astype(np.float16)
        if not np.isfinite(maps).all():
            raise LesionflowError(f"maps of {frozen.layers[-1].name} are beyond float16: set finetune.symmetries to true, which keeps none")
        stream.write(maps.tobytes())
        classes.append(batch["class"])
    return np.concatenate(classes)
