import numpy as np
import pandas as pd
import pytest

from components.evaluation.leave_one_collection_out import ImageFeatures, leave_one_collection_out


def sample_features(first_features: dict[str, int], classes: tuple[str, ...], count: int, seed: int) -> ImageFeatures:
    """Random features of a split. `first_features` maps a collection to the first of the two features that separate its classes."""
    random = np.random.default_rng(seed)
    rows, features = [], []
    for collection, first_feature in first_features.items():
        for number, name in enumerate(classes):
            angle = 2 * np.pi * number / len(classes)
            center = np.zeros(4)
            center[first_feature : first_feature + 2] = 5 * np.cos(angle), 5 * np.sin(angle)
            features.append(random.normal(size=(count, 4)) + center)
            rows += [(name, collection, f"{collection}{name}{index}") for index in range(count)]
    return ImageFeatures(pd.DataFrame(rows, columns=["diagnosis", "collection", "group"]), np.concatenate(features).astype(np.float32))


def test_drop_is_small_for_similar_and_large_for_odd_collection():
    first_features = {"here": 0, "there": 0, "odd": 2}
    train, test = (sample_features(first_features, ("melanoma", "nevus", "vascular_lesion"), 60, seed) for seed in (0, 1))
    results = leave_one_collection_out(train, test, 200, 0)
    assert list(results) == ["here", "odd", "there"]
    assert abs(results["here"].drop.value) < 0.02
    assert results["odd"].drop.low > 0.4
    assert results["odd"].balanced_accuracy < 0.5
    assert results["here"].images == 180


def test_drop_counts_only_classes_of_other_collections():
    train, test = (
        ImageFeatures(
            pd.concat([one.images, other.images], ignore_index=True),
            np.concatenate([one.features, other.features]),
        )
        for one, other in (
            (
                sample_features({"a": 0}, ("melanoma", "nevus"), 40, seed),
                sample_features({"b": 0}, ("melanoma", "nevus", "dermatofibroma"), 40, seed),
            )
            for seed in (0, 1)
        )
    )
    results = leave_one_collection_out(train, test, 100, 0)
    assert results["b"].classes == ("melanoma", "nevus")
    assert results["b"].images == 80
    assert results["b"].drop.low <= results["b"].drop.value <= results["b"].drop.high


@pytest.mark.parametrize("collections", [[None, None], ["one", "one"], ["one", None]])
def test_single_collection_gives_no_result(collections):
    images = pd.DataFrame({"diagnosis": ["melanoma", "nevus"], "collection": collections, "group": [0, 1]})
    split = ImageFeatures(images, np.eye(2, dtype=np.float32))
    assert leave_one_collection_out(split, split, 100, 0) == {}


def test_collection_without_shared_classes_is_skipped():
    images = pd.DataFrame({"diagnosis": ["melanoma", "nevus"], "collection": ["one", "other"], "group": [0, 1]})
    split = ImageFeatures(images, np.eye(2, dtype=np.float32))
    assert leave_one_collection_out(split, split, 100, 0) == {}
