import numpy as np
import pandas as pd

from components.data_quality import groups
from components.data_quality.near_duplicates import Pairs


def pairs(*ends):
    return Pairs(np.array(ends, dtype=np.int64).reshape(-1, 2), np.ones(len(ends)))


def test_files_that_share_a_lesion_an_id_their_pixels_or_a_look_share_a_group_however_indirectly():
    keys = pd.DataFrame(
        {"lesion": ["a", "a", "b", "c", "d", "e"], "pixels": ["1", "2", "2", None, None, "5"], "id": [None, None, "X", "X", None, None]}
    )
    assert groups.group_numbers(keys, pairs((3, 4))).tolist() == [0, 0, 0, 0, 0, 1]
    assert groups.group_numbers(keys, pairs()).tolist() == [0, 0, 0, 0, 1, 2]


def test_equal_keys_chain_and_nulls_equal_nothing():
    assert groups.equal_key_pairs(pd.Series(["a", None, "b", "a", None, "a"])).tolist() == [[0, 3], [3, 5]]
