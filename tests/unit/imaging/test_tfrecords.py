import numpy as np
import pytest

from components.core.classes import CLASSES
from components.core.errors import LesionflowError
from components.imaging import tfrecords
from components.imaging.tfrecords import ShardWriter, View, as_png
from components.training import input_pipeline
from components.training.input_pipeline import BatchOptions
from tests.support.images import noise

EVEN = dict.fromkeys(range(9), 1.0)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """1,200 views of nine classes, in three shards."""
    root = tmp_path_factory.mktemp("shards")
    pixels = np.asarray(noise(1, 16))
    for side in ("train", "validation"):
        with ShardWriter(root / side, 1200, 16, seed=0) as writer:
            for number in range(1200):
                writer.write(View(as_png(np.roll(pixels, number, axis=0)), CLASSES[number % 9], f"{number}.jpg", number % 4))
    return root


def test_views_come_back_bit_for_bit_with_whose_they_are(shards):
    rows = [
        row
        for batch in tfrecords.iter_batches("train", shards)
        for row in zip(batch["path"], batch["view"], batch["class"], batch["pixels"], strict=True)
    ]
    assert len(rows) == 1200
    for path, view, number, pixels in rows[:50]:
        index = int(path.decode().removesuffix(".jpg"))
        assert (view, number) == (index % 4, index % 9)
        assert np.array_equal(pixels, np.roll(np.asarray(noise(1, 16)), index, axis=0))


def test_shuffled_epochs_differ_and_hold_every_view(shards):
    dataset = tfrecords.read_views("train", shards, shuffle_seed=1).map(lambda row: row["path"])
    first, second = (list(dataset.as_numpy_iterator()) for _ in range(2))
    assert first != second
    assert sorted(first) == sorted(second)
    again = list(tfrecords.read_views("train", shards, shuffle_seed=1).map(lambda row: row["path"]).as_numpy_iterator())
    assert again == first


def test_the_first_views_of_each_image_are_read_alone_in_the_same_order(shards):
    every = list(tfrecords.read_views("train", shards).map(lambda row: (row["path"], row["view"])).as_numpy_iterator())
    few = list(tfrecords.read_views("train", shards, max_views=2).map(lambda row: (row["path"], row["view"])).as_numpy_iterator())
    assert few == [(path, view) for path, view in every if view < 2]
    assert tfrecords.view_count("train", shards, max_views=2) == len(few) == 600
    assert tfrecords.view_count("train", shards, max_views=9) == tfrecords.view_count("train", shards) == 1200


def test_batches_weigh_each_target(shards):
    pixels, target, weight = next(iter(input_pipeline.training_batches("train", "binary", BatchOptions(32, {0: 0.5, 1: 2.0}), shards)))
    assert pixels.shape == (32, 16, 16, 3)
    assert set(zip(target.numpy().tolist(), weight.numpy().tolist(), strict=True)) == {(0, 0.5), (1, 2.0)}


def test_a_view_is_seen_in_each_of_the_squares_eight_symmetries_and_in_no_other_way():
    import tensorflow as tf

    pixels = np.asarray(noise(1, 16))
    quarters = [np.rot90(pixels, turns) for turns in range(4)]
    wanted = {picture.tobytes() for picture in [*quarters, *(np.flip(picture, axis=0) for picture in quarters)]}
    assert {input_pipeline.random_dihedral(tf.constant(pixels), [3, number]).numpy().tobytes() for number in range(100)} == wanted


def test_turned_batches_hang_on_the_seed_alone_and_hold_the_same_views(shards):
    def drawn(shuffle_seed, symmetry_seed=None):
        options = BatchOptions(100, EVEN, symmetry_seed)
        return [np.asarray(batch[0]) for batch in input_pipeline.training_batches("train", "multiclass", options, shards, shuffle_seed)]

    first, again, other = (drawn(seed, seed) for seed in (5, 5, 6))
    straight = drawn(5)
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert not any(np.array_equal(one, two) for one, two in zip(first, other, strict=True))
    for batch, plain in zip(first, straight, strict=True):
        assert np.array_equal(np.sort(batch, axis=None), np.sort(plain, axis=None))


def test_reduced_batches_hold_the_same_views_smaller(shards):
    def drawn(resize_to):
        options = BatchOptions(8, EVEN, symmetry_seed=5, resize_to=resize_to)
        return next(iter(input_pipeline.training_batches("train", "multiclass", options, shards, shuffle_seed=5)))

    (reduced, *labels), (full, *expected) = drawn(8), drawn(None)
    assert reduced.shape == (8, 8, 8, 3)
    assert all(np.array_equal(one, other) for one, other in zip(labels, expected, strict=True))
    assert np.allclose(reduced, np.asarray(full).reshape(8, 8, 2, 8, 2, 3).mean(axis=(2, 4)), atol=1e-3)


@pytest.mark.parametrize("seed", [None, 5])
def test_the_order_of_places_is_the_order_of_the_views(shards, seed):
    sizes = tfrecords.shard_sizes("train", shards)
    assert len(sizes) == 3
    paths = [
        list(tfrecords.read_views("train", shards, shuffle_seed).map(lambda row: row["path"]).as_numpy_iterator())
        for shuffle_seed in (None, seed)
    ]
    assert [paths[0][at] for at in input_pipeline.shuffled_indices(sizes, seed).as_numpy_iterator()] == paths[1]


def test_a_writer_that_failed_leaves_no_index_and_its_folder_is_not_read(tmp_path):
    with pytest.raises(KeyboardInterrupt), ShardWriter(tmp_path / "train", 10, 16, seed=0) as writer:
        writer.write(View(as_png(np.zeros((16, 16, 3), np.uint8)), "nevus", "a.jpg", 0))
        raise KeyboardInterrupt
    with pytest.raises(LesionflowError, match="does not exist"):
        tfrecords.read_views("train", tmp_path)
