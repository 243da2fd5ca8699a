import numpy as np
import pandas as pd
import pytest

from components.evaluation.leave_one_collection_out import ImageFeatures, leave_one_collection_out


def featured(collections: dict[str, int], classes: tuple[str, ...], each: int, seed: int) -> ImageFeatures:
    """Two of four features tell a collection's classes apart: those from the number given."""
    random = np.random.default_rng(seed)
    rows, features = [], []
    for collection, first in collections.items():
        for number, name in enumerate(classes):
            around = 2 * np.pi * number / len(classes)
            centre = np.zeros(4)
            centre[first : first + 2] = 5 * np.cos(around), 5 * np.sin(around)
            features.append(random.normal(size=(each, 4)) + centre)
            rows += [(name, collection, f"{collection}{name}{at}") for at in range(each)]
    return ImageFeatures(pd.DataFrame(rows, columns=["diagnosis", "collection", "group"]), np.concatenate(features).astype(np.float32))


def test_a_collection_like_the_others_costs_little_and_an_odd_one_much():
    signals = {"here": 0, "there": 0, "odd": 2}
    train, test = (featured(signals, ("melanoma", "nevus", "vascular_lesion"), 60, seed) for seed in (0, 1))
    found = leave_one_collection_out(train, test, 200, 0)
    assert list(found) == ["here", "odd", "there"]
    assert abs(found["here"].drop.value) < 0.02
    assert found["odd"].drop.low > 0.4
    assert found["odd"].balanced_accuracy < 0.5
    assert found["here"].images == 180


def test_the_cost_is_measured_among_the_classes_that_the_others_have_too():
    train, test = (
        ImageFeatures(
            pd.concat([one.images, other.images], ignore_index=True),
            np.concatenate([one.features, other.features]),
        )
        for one, other in (
            (featured({"a": 0}, ("melanoma", "nevus"), 40, seed), featured({"b": 0}, ("melanoma", "nevus", "dermatofibroma"), 40, seed))
            for seed in (0, 1)
        )
    )
    found = leave_one_collection_out(train, test, 100, 0)
    assert found["b"].classes == ("melanoma", "nevus")
    assert found["b"].images == 80
    assert found["b"].drop.low <= found["b"].drop.value <= found["b"].drop.high


@pytest.mark.parametrize("collections", [[None, None], ["one", "one"], ["one", None]])
def test_one_collection_alone_cannot_be_left_out(collections):
    images = pd.DataFrame({"diagnosis": ["melanoma", "nevus"], "collection": collections, "group": [0, 1]})
    side = ImageFeatures(images, np.eye(2, dtype=np.float32))
    assert leave_one_collection_out(side, side, 100, 0) == {}


def test_a_collection_of_a_class_that_no_other_has_is_passed_over():
    images = pd.DataFrame({"diagnosis": ["melanoma", "nevus"], "collection": ["one", "other"], "group": [0, 1]})
    side = ImageFeatures(images, np.eye(2, dtype=np.float32))
    assert leave_one_collection_out(side, side, 100, 0) == {}
