"""Splits a dataset by combinations of stratified folds of its groups."""

from fractions import Fraction
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from components.core import catalog
from components.core.errors import LesionflowError
from components.runtime.params import SPLIT_RESOLUTION


def assign_splits(diagnoses: "pd.Series[str]", groups: NDArray[np.int64], test: float, validation: float, seed: int) -> NDArray[np.str_]:
    """Assign each image to a split: first test, then validation from the remaining images.

    Raises:
        LesionflowError: a class has fewer than three groups, so a split would not contain it.
    """
    require_three_groups(diagnoses, groups)
    labels = np.asarray(diagnoses, dtype=str)
    assigned = np.full(len(labels), "train", dtype="<U10")
    assigned[_take_folds(labels, groups, as_fraction(test), seed)] = "test"
    rest = np.flatnonzero(assigned == "train")
    assigned[rest[_take_folds(labels[rest], groups[rest], as_fraction(validation / (1 - test)), seed)]] = "validation"
    return assigned


def require_three_groups(diagnoses: "pd.Series[str]", groups: NDArray[Any]) -> None:
    """Raise if a class cannot be in each of the three splits.

    Raises:
        LesionflowError: a class has fewer than three groups.
    """
    per_class = pd.Series(groups).groupby(np.asarray(diagnoses)).nunique()
    scarce = per_class[per_class < len(catalog.SPLIT_NAMES)]
    if len(scarce):
        raise LesionflowError(
            f"too few lesions to split: {', '.join(f'{name} has {count}' for name, count in scarce.items())};"
            " each class needs at least three lesions that are not near-duplicates of each other"
        )


def as_fraction(share: float) -> Fraction:
    """The share as a fraction of as few folds as possible: 1/5 for 0.2."""
    return Fraction(share).limit_denominator(SPLIT_RESOLUTION)


def _take_folds(labels: NDArray[np.str_], groups: NDArray[np.int64], share: Fraction, seed: int) -> NDArray[np.int64]:
    """Positions of the images in `share.numerator` of the `share.denominator` folds of scikit-learn's StratifiedGroupKFold.

    Raises:
        LesionflowError: every class has fewer images than there are folds.
    """
    largest = int(np.unique(labels, return_counts=True)[1].max())
    if largest < share.denominator:
        raise LesionflowError(f"too few images to split: the largest class has {largest}, but at least {share.denominator} are needed")
    folds = StratifiedGroupKFold(n_splits=share.denominator, shuffle=True, random_state=seed).split(labels, labels, groups)
    return np.concatenate([members for _, members in islice(folds, share.numerator)])
