"""Which files of a dataset belong together: files that share a lesion or show one picture, however indirectly, share a group.

A group is never divided between the sides of the split. Groups are formed over every file, before any is left out: a copy that is
left out still links its lesion to the copy that stays.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from components.data_quality.near_duplicates import Pairs


def numbers(keys: pd.DataFrame, pairs: Pairs) -> NDArray[np.int64]:
    """Number of each row's group, shape (n,): rows with equal values in a column, or in a pair, share one; nulls equal nothing."""
    return linked(np.concatenate([*(chained(keys[column]) for column in keys), pairs.indices]), len(keys))


def chained(keys: "pd.Series[str]") -> NDArray[np.int64]:
    """Pairs of neighbouring positions of equal keys, shape (n, 2), enough to link all of them; nulls equal nothing."""
    codes = pd.factorize(keys)[0]
    order = np.argsort(codes, kind="stable")
    sorted_codes = codes[order]
    same = (sorted_codes[1:] == sorted_codes[:-1]) & (sorted_codes[1:] >= 0)
    return np.stack([order[:-1][same], order[1:][same]], axis=1).astype(np.int64)


def linked(pairs: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Number of the component of each of `count` positions, where `pairs` of shape (n, 2) join."""
    links = coo_array((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(links, directed=False)[1].astype(np.int64)
