"""Assigns new groups to splits without moving a group that is in one already."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.core.catalog import SPLIT_NAMES

DIGITS = 9
"""Decimals in which shares are compared, so that rounding errors decide nothing."""

Counts = NDArray[np.float64]


def assign_new_groups(images: pd.DataFrame, kept: Mapping[str, str], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Assign the groups that are not in `kept`, in an order drawn with `seed`, largest first.

    Each goes to the split that lacks most of its class, compared with the shares asked for; among equal splits, to the one that lacks most
    images of all classes. A class with as few groups left as there are splits without it goes to these.

    Args:
        images: columns group and diagnosis, one row per image. The order of the rows does not matter.
        kept: the split of each group that is in one already; its images count.
        shares: fraction of the images that each split should have.
        seed: seed of the order among groups of one size.

    Returns:
        The split of each new group.
    """
    counts = pd.crosstab(images["group"], images["diagnosis"]).astype(float)
    by_group = dict(zip(counts.index, counts.to_numpy(), strict=True))
    new = [group for group in by_group if group not in kept]
    filled = np.zeros((len(SPLIT_NAMES), counts.shape[1]))
    for group in by_group.keys() & kept.keys():
        filled[SPLIT_NAMES.index(kept[group])] += by_group[group]
    target = np.outer([shares[name] for name in SPLIT_NAMES], counts.sum())
    waiting = sum((by_group[group] > 0 for group in new), np.zeros(counts.shape[1]))
    assigned = {}
    for group in _largest_first(new, by_group, seed):
        number = _choose(by_group[group], filled, target, waiting)
        filled[number] += by_group[group]
        waiting -= by_group[group] > 0
        assigned[group] = SPLIT_NAMES[number]
    return assigned


def _largest_first(new: list[str], by_group: Mapping[str, Counts], seed: int) -> list[str]:
    drawn = np.random.default_rng(seed).permutation(len(new))
    return sorted((new[number] for number in drawn), key=lambda group: -by_group[group].sum())


def _choose(group: Counts, filled: Counts, target: Counts, waiting: Counts) -> int:
    """Number of the split for a group.

    Args:
        group: images of each class in the group, shape (classes,).
        filled: images of each class in each split so far, shape (splits, classes).
        target: images of each class that each split should have in the end, shape (splits, classes).
        waiting: groups with each class that are not assigned yet, shape (classes,); this one counts.
    """
    empty = filled == 0
    last_chance = empty & (group > 0) & (waiting <= empty.sum(axis=0))
    lacking = target - filled
    of_class = (lacking / target.sum(axis=0)) @ (group / group.sum())
    overall = lacking.sum(axis=1) / target.sum()
    ranked = [
        (last_chance[split].sum(), round(of_class[split], DIGITS), round(overall[split], DIGITS), -split) for split in range(len(filled))
    ]
    return -max(ranked)[-1]
