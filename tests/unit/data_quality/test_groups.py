import numpy as np
import pandas as pd

from components.data_quality import groups
from components.data_quality.near_duplicates import Pairs


def pairs(*indices):
    return Pairs(np.array(indices, dtype=np.int64).reshape(-1, 2), np.ones(len(indices)))


def test_group_numbers_connect_images_transitively():
    keys = pd.DataFrame(
        {"lesion": ["a", "a", "b", "c", "d", "e"], "pixels": ["1", "2", "2", None, None, "5"], "id": [None, None, "X", "X", None, None]}
    )
    assert groups.group_numbers(keys, pairs((3, 4))).tolist() == [0, 0, 0, 0, 0, 1]
    assert groups.group_numbers(keys, pairs()).tolist() == [0, 0, 0, 0, 1, 2]


def test_equal_key_pairs_chain_equal_keys_and_ignore_nulls():
    assert groups.equal_key_pairs(pd.Series(["a", None, "b", "a", None, "a"])).tolist() == [[0, 3], [3, 5]]
