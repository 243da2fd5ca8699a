"""Stores views as TFRecord shards: lossless pixels, class, path of the image and view number."""

import io
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from components.core.errors import LesionflowError
from components.core.files import read_json, write_json
from components.core.paths import SHARDS
from components.imaging.images import Pixels

if TYPE_CHECKING:
    import tensorflow as tf


FASTEST_COMPRESSION = 1
"""zlib level. With the run-length strategy, photographs are 15 % smaller than with the default strategy, and compress faster."""
VIEWS_PER_SHARD = 512
"""Average views per shard: some tens of megabytes, so that many shards can be read at once."""


@dataclass(frozen=True)
class View:
    """One view of an image: the bytes of a PNG, with class and path of the image and number of the view."""

    png: bytes
    diagnosis: str
    path: str
    number: int


def as_png(pixels: Pixels) -> bytes:
    """Encode uint8 pixels of shape (size, size, 3) as PNG."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=FASTEST_COMPRESSION, compress_type=zlib.Z_RLE)
    return stream.getvalue()


class ShardWriter:
    """Writes the views of one split to `folder`, distributed over shards at random so that reading shuffles them.

    Use it as a context manager: the index that `read_views` needs is written at the end if there was no error.
    """

    def __init__(self, folder: Path, outputs: Sequence[str], expected: int, image_size: int, seed: int) -> None:
        self._folder, self._image_size = folder, image_size
        self._positions = {name: number for number, name in enumerate(outputs)}
        self._shards = max(1, -(-expected // VIEWS_PER_SHARD))
        self._random = np.random.default_rng(seed)
        self._counts = dict.fromkeys(outputs, 0)
        self._numbers: Counter[int] = Counter()

    def __enter__(self) -> "ShardWriter":
        import tensorflow as tf

        self._folder.mkdir(parents=True)
        self._files = ExitStack()
        names = [self._folder / f"{number:05d}.tfrecord" for number in range(self._shards)]
        self._writers = [self._files.enter_context(tf.io.TFRecordWriter(str(name))) for name in names]
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        with self._translate_tensorflow_errors():
            self._files.close()
        if kind is None:
            per_number = [self._numbers[number] for number in range(max(self._numbers, default=-1) + 1)]
            index = {"per_class": self._counts, "per_number": per_number, "image_size": self._image_size}
            write_json(self._folder / "index.json", index)

    @contextmanager
    def _translate_tensorflow_errors(self) -> Iterator[None]:
        """Convert TensorFlow errors to a user error: TensorFlow reports a full disk as its own error, not as OSError."""
        import tensorflow as tf

        try:
            yield
        except tf.errors.OpError as fault:
            reason = fault.message.rsplit("; ", 1)[-1]
            raise LesionflowError(
                f"{self._folder.parent} cannot be written: {reason}. Free some space and run `dvc repro` again."
            ) from None

    def write(self, view: View) -> None:
        """Append a view to a shard."""
        import tensorflow as tf

        def as_bytes(value: bytes) -> Any:
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

        def as_int(value: int) -> Any:
            return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

        feature = {
            "png": as_bytes(view.png),
            "class": as_int(self._positions[view.diagnosis]),
            "path": as_bytes(view.path.encode("utf-8")),
            "view": as_int(view.number),
        }
        example = tf.train.Example(features=tf.train.Features(feature=feature))
        with self._translate_tensorflow_errors():
            self._writers[self._random.integers(self._shards)].write(example.SerializeToString(deterministic=True))
        self._counts[view.diagnosis] += 1
        self._numbers[view.number] += 1


def view_count(split: str, root: Path = SHARDS, max_views: int | None = None) -> int:
    """Number of views of one split; with `max_views`, only of the first views of each image."""
    return sum(_index(split, root)["per_number"][:max_views])


def class_counts(split: str, root: Path = SHARDS) -> dict[str, int]:
    """Number of views of each class in one split."""
    per_class: dict[str, int] = _index(split, root)["per_class"]
    return per_class


def _index(split: str, root: Path) -> Any:
    return read_json(root / split / "index.json")


def read_views(split: str, root: Path = SHARDS, shuffle_seed: int | None = None, max_views: int | None = None) -> "tf.data.Dataset":
    """Views of one split as {"pixels": uint8 (size, size, 3), "class": int64, "path": string, "view": int64}.

    Without `shuffle_seed` the order is fixed; with it, the dataset is shuffled again in each iteration. With `max_views`, at most that
    many views of each image, lowest number first.

    Raises:
        LesionflowError: the shards do not exist.
    """
    import tensorflow as tf

    size = _index(split, root)["image_size"]
    names = sorted(str(path) for path in (root / split).glob("*.tfrecord"))
    if not names:
        raise LesionflowError(f"{root / split} contains no shards. Run `dvc repro` to create them.")
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

    views = interleave_shards(tf.data.Dataset.from_tensor_slices(names), tf.data.TFRecordDataset, shuffle_seed)
    if max_views is not None:
        views = views.filter(lambda serialized: tf.io.parse_single_example(serialized, {"view": shape["view"]})["view"] < max_views)
    # a truncated shard must be an error, not a shorter epoch
    counted = views.apply(tf.data.experimental.assert_cardinality(view_count(split, root, max_views)))
    return counted.map(parse, num_parallel_calls=tf.data.AUTOTUNE)


def interleave_shards(shards: "tf.data.Dataset", opened: Callable[..., "tf.data.Dataset"], shuffle_seed: int | None) -> "tf.data.Dataset":
    """Contents of the shards in sequence or, with a seed, shuffled; the order depends only on the seed and the shard sizes."""
    if shuffle_seed is None:
        return shards.flat_map(opened)
    mixed = shards.shuffle(shards.cardinality(), seed=shuffle_seed).interleave(opened, cycle_length=8)
    return mixed.shuffle(4 * VIEWS_PER_SHARD, seed=shuffle_seed)


def shard_sizes(split: str, root: Path = SHARDS) -> list[int]:
    """Number of views in each shard of one split."""
    import tensorflow as tf

    names = sorted(str(path) for path in (root / split).glob("*.tfrecord"))
    return [int(tf.data.TFRecordDataset(name).reduce(np.int64(0), lambda view_count, _: view_count + 1)) for name in names]


def paths_of(batch: Mapping[str, np.ndarray]) -> list[str]:
    """Paths of a batch's views; shards store them as UTF-8 bytes."""
    return [path.decode("utf-8") for path in batch["path"]]


def iter_batches(split: str, root: Path = SHARDS, batch_size: int = 64, max_views: int | None = None) -> Iterator[dict[str, np.ndarray]]:
    """Yield batches of one split in fixed order as NumPy arrays; `max_views`: only that many views of each image."""
    yield from read_views(split, root, max_views=max_views).batch(batch_size).prefetch(2).as_numpy_iterator()
