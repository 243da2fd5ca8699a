import numpy as np
import pytest

from components.core.errors import LesionflowError
from components.serving import neighbours
from components.serving.neighbours import Index
from tests.support import training_index

RANDOM = np.random.default_rng(5)
ROWS = RANDOM.normal(size=(60, 32))
"""Features of 60 images."""


def test_nearest_lesions_are_those_of_a_search_one_by_one():
    keys = RANDOM.integers(0, 25, 60)
    index = training_index.index(ROWS, keys=keys)
    asked = RANDOM.normal(size=32)
    distances = {}
    for row, key in zip(ROWS, keys.tolist(), strict=True):
        cosine = row @ asked / np.linalg.norm(row) / np.linalg.norm(asked)
        distances[key] = min(distances.get(key, 9), 1 - cosine)
    rows, found = index.nearest_lesions(asked, 16)
    assert keys[rows].tolist() == sorted(distances, key=distances.get)[:16]
    assert np.allclose(found, sorted(distances.values())[:16], atol=1e-3)  # rows are stored as float16


def test_similar_cases_are_at_most_one_of_each_lesion_and_counted_by_diagnosis():
    index = training_index.index(ROWS, keys=np.arange(60) // 3, diagnoses=["nevus", "melanoma"])
    found = index.search(ROWS[0])
    assert len(found.similar) == 16
    assert sum(found.counts.values()) == 16
    assert found.counts == {
        name: sum(case.diagnosis == name for case in found.similar) for name in sorted(found.counts, key=found.counts.get, reverse=True)
    }
    distances = [case.distance for case in found.similar]
    assert distances == sorted(distances)


def test_image_of_training_is_recognized_and_another_is_not():
    index = training_index.index(ROWS)
    for row in ROWS[:5].astype(np.float32):
        assert index.search(row).in_training
        assert index.search(row * 3).in_training  # only the direction counts
        assert not index.search(row + 0.02 * RANDOM.normal(size=32)).in_training


def test_image_is_unlike_training_if_the_lesion_of_that_number_is_far():
    index = training_index.index(ROWS, lesion=3)
    other = ROWS[0] + 0.5 * ROWS[1]
    near = index.search(other)
    assert near.distance == near.similar[2].distance
    limit = near.distance
    assert training_index.index(ROWS, lesion=3, threshold=limit - 0.01).search(other).unlike_training
    assert not training_index.index(ROWS, lesion=3, threshold=limit).search(other).unlike_training
    assert not training_index.index(ROWS, lesion=3, threshold=None).search(-other).unlike_training
    assert not training_index.index(ROWS, lesion=3, threshold=0.0).search(ROWS[0]).unlike_training  # it was in training


def test_fewer_lesions_than_similar_cases():
    found = training_index.index(ROWS[:4], keys=[0, 0, 1, 2]).search(ROWS[0])
    assert len(found.similar) == 3
    assert found.distance == found.similar[-1].distance


def test_features_of_zeros_are_far_from_everything():
    index = training_index.index(np.concatenate([ROWS, np.zeros((1, 32))]))
    assert [case.distance for case in index.search(np.zeros(32)).similar] == [1.0] * 16


def test_index_is_read_as_it_was_written(tmp_path):
    index = training_index.index(ROWS, threshold=0.3)
    training_index.write(tmp_path, index, ROWS)
    again = Index.load(lambda name: (tmp_path / name).read_bytes())
    assert again.search(ROWS[7]) == index.search(ROWS[7])
    assert np.load(tmp_path / neighbours.FEATURES).dtype == np.float16


def test_origin_that_is_not_known_is_empty():
    case = training_index.index(ROWS).search(ROWS[0]).similar[0]
    assert (case.collection, case.license, case.attribution, case.thumbnail) == ("HAM10000", "CC BY-NC 4.0", "", None)


def test_index_with_other_numbers_of_rows_and_cases_is_refused():
    index = training_index.index(ROWS)
    with pytest.raises(ValueError, match="one case for each row"):
        Index(index.contents, ROWS[:5], index.cases)


@pytest.mark.parametrize("name", [neighbours.CONTENTS, neighbours.CASES])
def test_damaged_file_is_named(tmp_path, name):
    training_index.write(tmp_path, training_index.index(ROWS), ROWS)
    (tmp_path / name).write_text("{")
    with pytest.raises(LesionflowError, match=name):
        Index.load(lambda file: (tmp_path / file).read_bytes())
