"""Views as TFRecord shards: lossless pixels, the class, and the path and view number that say where each came from."""

import io
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from components.core.classes import CLASSES
from components.core.errors import LesionflowError
from components.core.files import read_json, write_json
from components.core.paths import SHARDS
from components.imaging.images import Pixels

if TYPE_CHECKING:
    import tensorflow as tf


FASTEST = 1
"""Level of zlib. With runs as its only repeats, photographs come out 15 % smaller than with its default strategy, and sooner."""
PER_SHARD = 512
"""Views a shard holds on average: some tens of megabytes, so that many can be open and read at once."""


@dataclass(frozen=True)
class View:
    """One rendering of an image, as the bytes of a PNG, and whose it is."""

    png: bytes
    diagnosis: str
    path: str
    number: int


def as_png(pixels: Pixels) -> bytes:
    """The bytes of a PNG that holds uint8 pixels of shape (size, size, 3)."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=FASTEST, compress_type=zlib.Z_RLE)
    return stream.getvalue()


class Writer:
    """Writes the views of one side into `folder`, spread over shards at random so that reading mixes them.

    Use it as a context manager: the index that `read` wants is written at the end, and only when nothing failed.
    """

    def __init__(self, folder: Path, expected: int, image_size: int, seed: int) -> None:
        self._folder, self._image_size = folder, image_size
        self._shards = max(1, -(-expected // PER_SHARD))
        self._random = np.random.default_rng(seed)
        self._counts = dict.fromkeys(CLASSES, 0)
        self._numbers: Counter[int] = Counter()

    def __enter__(self) -> "Writer":
        import tensorflow as tf

        self._folder.mkdir(parents=True)
        self._files = ExitStack()
        names = [self._folder / f"{number:05d}.tfrecord" for number in range(self._shards)]
        self._writers = [self._files.enter_context(tf.io.TFRecordWriter(str(name))) for name in names]
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        with self._explained():
            self._files.close()
        if kind is None:
            per_number = [self._numbers[number] for number in range(max(self._numbers, default=-1) + 1)]
            index = {"per_class": self._counts, "per_number": per_number, "image_size": self._image_size}
            write_json(self._folder / "index.json", index)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """TensorFlow reports a full disk as an error of its own, not as Python's OSError."""
        import tensorflow as tf

        try:
            yield
        except tf.errors.OpError as fault:
            reason = fault.message.rsplit("; ", 1)[-1]
            raise LesionflowError(f"{self._folder.parent} cannot be written: {reason}; free some space and run `dvc repro` again") from None

    def write(self, view: View) -> None:
        """Append a view to a shard."""
        import tensorflow as tf

        def as_bytes(value: bytes) -> Any:
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

        def as_int(value: int) -> Any:
            return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

        feature = {
            "png": as_bytes(view.png),
            "class": as_int(CLASSES.index(view.diagnosis)),
            "path": as_bytes(view.path.encode("utf-8")),
            "view": as_int(view.number),
        }
        example = tf.train.Example(features=tf.train.Features(feature=feature))
        with self._explained():
            self._writers[self._random.integers(self._shards)].write(example.SerializeToString(deterministic=True))
        self._counts[view.diagnosis] += 1
        self._numbers[view.number] += 1


def count(side: str, root: Path = SHARDS, first: int | None = None) -> int:
    """Views of one side, or of each image the `first` alone."""
    return sum(_index(side, root)["per_number"][:first])


def counts(side: str, root: Path = SHARDS) -> dict[str, int]:
    """Views of each class on one side."""
    per_class: dict[str, int] = _index(side, root)["per_class"]
    return per_class


def _index(side: str, root: Path) -> Any:
    return read_json(root / side / "index.json")


def read(side: str, root: Path = SHARDS, shuffle_seed: int | None = None, first: int | None = None) -> "tf.data.Dataset":
    """Views of one side as {"pixels": uint8 (size, size, 3), "class": int64, "path": string, "view": int64}.

    In one fixed order without `shuffle_seed`; with it, in an order that differs each time the dataset is gone through. With `first`
    only so many views of each image, those with the lowest numbers.

    Raises:
        LesionflowError: the shards are not there.
    """
    import tensorflow as tf

    size = _index(side, root)["image_size"]
    names = sorted(str(path) for path in (root / side).glob("*.tfrecord"))
    if not names:
        raise LesionflowError(f"{root / side} holds no shards: run `dvc repro`, which makes them")
    shape = {
        "png": tf.io.FixedLenFeature([], tf.string),
        "class": tf.io.FixedLenFeature([], tf.int64),
        "path": tf.io.FixedLenFeature([], tf.string),
        "view": tf.io.FixedLenFeature([], tf.int64),
    }

    def parse(serialized: "tf.Tensor") -> dict[str, "tf.Tensor"]:
        row = tf.io.parse_single_example(serialized, shape)
        pixels = tf.ensure_shape(tf.io.decode_png(row.pop("png"), channels=3), (size, size, 3))
        return {"pixels": pixels, **row}

    views = ordered(tf.data.Dataset.from_tensor_slices(names), tf.data.TFRecordDataset, shuffle_seed)
    if first is not None:
        views = views.filter(lambda serialized: tf.io.parse_single_example(serialized, {"view": shape["view"]})["view"] < first)
    # a shard cut short is an error, not an epoch
    counted = views.apply(tf.data.experimental.assert_cardinality(count(side, root, first)))
    return counted.map(parse, num_parallel_calls=tf.data.AUTOTUNE)


def ordered(shards: "tf.data.Dataset", opened: Callable[..., "tf.data.Dataset"], shuffle_seed: int | None) -> "tf.data.Dataset":
    """What the shards hold, one after the other or, with a seed, mixed in a way that hangs on it and on their sizes alone."""
    if shuffle_seed is None:
        return shards.flat_map(opened)
    mixed = shards.shuffle(shards.cardinality(), seed=shuffle_seed).interleave(opened, cycle_length=8)
    return mixed.shuffle(4 * PER_SHARD, seed=shuffle_seed)


def shard_sizes(side: str, root: Path = SHARDS) -> list[int]:
    """Views in each shard of one side."""
    import tensorflow as tf

    names = sorted(str(path) for path in (root / side).glob("*.tfrecord"))
    return [int(tf.data.TFRecordDataset(name).reduce(np.int64(0), lambda count, _: count + 1)) for name in names]


def paths_of(batch: Mapping[str, np.ndarray]) -> list[str]:
    """The paths of a batch's views; a shard holds them as bytes, in UTF-8."""
    return [path.decode("utf-8") for path in batch["path"]]


def in_order(side: str, root: Path = SHARDS, batch_size: int = 64, first: int | None = None) -> Iterator[dict[str, np.ndarray]]:
    """Batches of one side in its fixed order, as numpy arrays; with `first` of so many views of each image."""
    yield from read(side, root, first=first).batch(batch_size).prefetch(2).as_numpy_iterator()
