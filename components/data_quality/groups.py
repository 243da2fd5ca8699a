"""Groups the files of a dataset: files that share a patient or a lesion or show the same image, directly or indirectly, are in one group.

All images of a group go to the same split. Groups are formed over all files before any is excluded: an excluded copy still links its
lesion to the copy that is used.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from components.data_quality.near_duplicates import Pairs


def group_numbers(keys: pd.DataFrame, pairs: Pairs) -> NDArray[np.int64]:
    """Group number of each row, shape (n,): rows with equal values in a column, or in a pair, share a group; nulls are never equal."""
    return connected_labels(np.concatenate([*(equal_key_pairs(keys[column]) for column in keys), pairs.indices]), len(keys))


def equal_key_pairs(keys: "pd.Series[str]") -> NDArray[np.int64]:
    """Pairs of neighboring positions with equal keys, shape (n, 2), enough to connect all of them; nulls are never equal."""
    codes = pd.factorize(keys)[0]
    order = np.argsort(codes, kind="stable")
    sorted_codes = codes[order]
    same = (sorted_codes[1:] == sorted_codes[:-1]) & (sorted_codes[1:] >= 0)
    return np.stack([order[:-1][same], order[1:][same]], axis=1).astype(np.int64)


def connected_labels(pairs: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Number of the connected component of each of `count` positions; `pairs`, shape (n, 2), are the edges."""
    links = coo_array((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(links, directed=False)[1].astype(np.int64)
