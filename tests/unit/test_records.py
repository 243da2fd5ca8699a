import numpy as np
import pandas as pd
import pytest

from components import augment, images, records
from components.classes import CLASSES
from components.errors import LesionflowError
from components.records import View, Writer
from tests.conftest import noise


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """1,200 views of nine classes, in three shards."""
    root = tmp_path_factory.mktemp("shards")
    pixels = np.asarray(noise(1, 16))
    for side in ("train", "validation"):
        with Writer(root / side, 1200, 16, seed=0) as writer:
            for number in range(1200):
                writer.write(View(np.roll(pixels, number, axis=0), CLASSES[number % 9], f"{number}.jpg", number % 4))
    return root


def test_views_come_back_bit_for_bit_with_whose_they_are(shards):
    rows = [
        row
        for batch in records.in_order("train", shards)
        for row in zip(batch["path"], batch["view"], batch["class"], batch["pixels"], strict=True)
    ]
    assert len(rows) == 1200
    for path, view, number, pixels in rows[:50]:
        index = int(path.decode().removesuffix(".jpg"))
        assert (view, number) == (index % 4, index % 9)
        assert np.array_equal(pixels, np.roll(np.asarray(noise(1, 16)), index, axis=0))


def test_shuffled_epochs_differ_and_hold_every_view(shards):
    dataset = records.read("train", shards, shuffle_seed=1).map(lambda row: row["path"])
    first, second = (list(dataset.as_numpy_iterator()) for _ in range(2))
    assert first != second
    assert sorted(first) == sorted(second)
    again = list(records.read("train", shards, shuffle_seed=1).map(lambda row: row["path"]).as_numpy_iterator())
    assert again == first


def test_batches_weigh_each_target(shards):
    pixels, target, weight = next(iter(records.batches("train", "binary", 32, {0: 0.5, 1: 2.0}, shards)))
    assert pixels.shape == (32, 16, 16, 3)
    assert set(zip(target.numpy().tolist(), weight.numpy().tolist(), strict=True)) == {(0, 0.5), (1, 2.0)}


def test_a_writer_that_failed_leaves_no_index_and_its_folder_is_not_read(tmp_path):
    with pytest.raises(KeyboardInterrupt), Writer(tmp_path / "train", 10, 16, seed=0) as writer:
        writer.write(View(np.zeros((16, 16, 3), np.uint8), "nevus", "a.jpg", 0))
        raise KeyboardInterrupt
    with pytest.raises(LesionflowError, match="is not there"):
        records.read("train", tmp_path)


def test_rarer_classes_get_more_views_up_to_the_limit():
    assert augment.views_per_image({"nevus": 300, "melanoma": 100, "dermatofibroma": 10}, 2, 8) == {
        "nevus": 2,
        "melanoma": 6,
        "dermatofibroma": 8,
    }


def test_the_plan_covers_every_image_as_often_as_its_class_asks():
    rows = pd.DataFrame({"path": ["a", "b", "c"], "diagnosis": ["nevus", "nevus", "melanoma"]})
    todo = augment.plan(rows, {"nevus": 1, "melanoma": 3}, seed=0)
    assert todo.groupby("path")["number"].apply(list).to_dict() == {"a": [0], "b": [0], "c": [0, 1, 2]}


def test_the_same_seed_renders_the_same_views_and_every_view_differs(settings, tmp_path, make_dataset):
    root = make_dataset(tmp_path / "data", images=2)
    rows = pd.DataFrame(
        [(path.relative_to(root).as_posix(), path.parent.name) for path in sorted(root.rglob("*.png"))], columns=["path", "diagnosis"]
    )
    todo = augment.plan(rows, dict.fromkeys(CLASSES, 5), seed=0)
    first, again, other = (list(augment.augmented(todo, root, 32, augment.pipeline(settings.augment, seed))) for seed in (0, 0, 1))
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a.pixels, b.pixels) for a, b in zip(first, other, strict=True))
    assert len({view.pixels.tobytes() for view in first}) == len(first) == 90


def test_clean_images_are_exactly_what_serving_sees(tmp_path, make_dataset):
    root = make_dataset(tmp_path / "data", images=1)
    rows = pd.DataFrame({"path": ["nevus/nevus_0.png"], "diagnosis": ["nevus"]})
    view = next(augment.clean(rows, root, 48))
    assert np.array_equal(view.pixels, images.read((root / "nevus/nevus_0.png").read_bytes(), 48))


def test_no_augmentation_at_all_gives_the_image_itself(settings, tmp_path, make_dataset):
    root = make_dataset(tmp_path / "data", images=1)
    still = settings.augment.model_copy(
        update={"rotation": 0, "flips": False, "shift": 0, "shear": 0, "zoom": 0, "brightness": 0, "contrast": 0}
    )
    todo = pd.DataFrame({"path": ["nevus/nevus_0.png"], "diagnosis": ["nevus"], "number": [0]})
    view = next(augment.augmented(todo, root, 48, augment.pipeline(still, 0)))
    assert np.array_equal(view.pixels, images.read((root / "nevus/nevus_0.png").read_bytes(), 48))
