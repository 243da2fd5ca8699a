"""Deals the validation images into two halves: everything is fitted on one, and what promises a rate is calibrated on the other."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def fitting_half(images: pd.DataFrame, seed: int) -> NDArray[np.bool_]:
    """Whether each image belongs to the half on which phase, lift and temperature are chosen; the other half calibrates.

    Whole groups are dealt, alternately within each class in a random order, so that both halves have each class with two or more groups.

    Args:
        images: one row per image, with `group` and `diagnosis`.
        seed: of the order.
    """
    first = images.drop_duplicates("group").sort_values("group")
    shuffled = first.iloc[np.random.default_rng(seed).permutation(len(first))].sort_values("diagnosis", kind="stable")
    fitting = shuffled["group"].to_numpy()[::2]
    return np.isin(images["group"].to_numpy(), fitting)
