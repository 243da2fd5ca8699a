import numpy as np
import pytest

from components.core.errors import LesionflowError
from components.imaging import tfrecords
from components.imaging.tfrecords import ShardWriter, View, as_png
from components.training import input_pipeline
from components.training.input_pipeline import BatchOptions
from tests.support.images import noise
from tests.support.labels import CLASSES

EQUAL_WEIGHTS = dict.fromkeys(range(9), 1.0)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """1,200 views of nine classes, in three shards."""
    root = tmp_path_factory.mktemp("shards")
    pixels = np.asarray(noise(1, 16))
    for split in ("train", "validation"):
        with ShardWriter(root / split, CLASSES, 1200, 16, seed=0) as writer:
            for number in range(1200):
                writer.write(View(as_png(np.roll(pixels, number, axis=0)), CLASSES[number % 9], f"{number}.jpg", number % 4))
    return root


def test_shards_round_trip_views_with_their_metadata(shards):
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


def test_shuffled_epochs_differ_and_contain_every_view(shards):
    dataset = tfrecords.read_views("train", shards, shuffle_seed=1).map(lambda row: row["path"])
    first, second = (list(dataset.as_numpy_iterator()) for _ in range(2))
    assert first != second
    assert sorted(first) == sorted(second)
    repeated = list(tfrecords.read_views("train", shards, shuffle_seed=1).map(lambda row: row["path"]).as_numpy_iterator())
    assert repeated == first


def test_max_views_keeps_first_views_in_order(shards):
    all_views = list(tfrecords.read_views("train", shards).map(lambda row: (row["path"], row["view"])).as_numpy_iterator())
    first_views = list(tfrecords.read_views("train", shards, max_views=2).map(lambda row: (row["path"], row["view"])).as_numpy_iterator())
    assert first_views == [(path, view) for path, view in all_views if view < 2]
    assert tfrecords.view_count("train", shards, max_views=2) == len(first_views) == 600
    assert tfrecords.view_count("train", shards, max_views=9) == tfrecords.view_count("train", shards) == 1200


def test_training_batches_weight_each_target(shards):
    pixels, target, weight = next(
        iter(input_pipeline.training_batches("train", BatchOptions(32, {number: 0.5 * number for number in range(9)}), shards))
    )
    assert pixels.shape == (32, 16, 16, 3)
    assert set(zip(target.numpy().tolist(), weight.numpy().tolist(), strict=True)) <= {(number, 0.5 * number) for number in range(9)}


def test_random_dihedral_produces_exactly_eight_symmetries():
    import tensorflow as tf

    pixels = np.asarray(noise(1, 16))
    rotations = [np.rot90(pixels, turns) for turns in range(4)]
    expected = {rotation.tobytes() for rotation in [*rotations, *(np.flip(rotation, axis=0) for rotation in rotations)]}
    assert {input_pipeline.random_dihedral(tf.constant(pixels), [3, number]).numpy().tobytes() for number in range(100)} == expected


def test_dihedral_batches_depend_only_on_seed_and_keep_pixels(shards):
    def load_batches(shuffle_seed, symmetry_seed=None):
        options = BatchOptions(100, EQUAL_WEIGHTS, symmetry_seed)
        return [np.asarray(batch[0]) for batch in input_pipeline.training_batches("train", options, shards, shuffle_seed)]

    first, repeated, other = (load_batches(seed, seed) for seed in (5, 5, 6))
    unrotated = load_batches(5)
    assert all(np.array_equal(batch, other_batch) for batch, other_batch in zip(first, repeated, strict=True))
    assert not any(np.array_equal(batch, other_batch) for batch, other_batch in zip(first, other, strict=True))
    for batch, unrotated_batch in zip(first, unrotated, strict=True):
        assert np.array_equal(np.sort(batch, axis=None), np.sort(unrotated_batch, axis=None))


def test_resized_batches_average_the_same_views(shards):
    def first_batch(resize_to):
        options = BatchOptions(8, EQUAL_WEIGHTS, symmetry_seed=5, resize_to=resize_to)
        return next(iter(input_pipeline.training_batches("train", options, shards, shuffle_seed=5)))

    (resized, *labels), (full, *expected) = first_batch(8), first_batch(None)
    assert resized.shape == (8, 8, 8, 3)
    assert all(np.array_equal(label, expected_label) for label, expected_label in zip(labels, expected, strict=True))
    assert np.allclose(resized, np.asarray(full).reshape(8, 8, 2, 8, 2, 3).mean(axis=(2, 4)), atol=1e-3)


@pytest.mark.parametrize("seed", [None, 5])
def test_shuffled_indices_match_order_of_views(shards, seed):
    sizes = tfrecords.shard_sizes("train", shards)
    assert len(sizes) == 3
    paths = [
        list(tfrecords.read_views("train", shards, shuffle_seed).map(lambda row: row["path"]).as_numpy_iterator())
        for shuffle_seed in (None, seed)
    ]
    assert [paths[0][index] for index in input_pipeline.shuffled_indices(sizes, seed).as_numpy_iterator()] == paths[1]


def test_failed_shard_writer_leaves_no_index(tmp_path):
    with pytest.raises(KeyboardInterrupt), ShardWriter(tmp_path / "train", CLASSES, 10, 16, seed=0) as writer:
        writer.write(View(as_png(np.zeros((16, 16, 3), np.uint8)), "nevus", "a.jpg", 0))
        raise KeyboardInterrupt
    with pytest.raises(LesionflowError, match="does not exist"):
        tfrecords.read_views("train", tmp_path)
