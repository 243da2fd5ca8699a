"""Deals groups of images into folds, and gives each fold its part in a training."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from components.core.errors import LesionflowError
from components.runtime.tuning_params import CrossValidation

LEAST_FOLDS = 3
"""One to train on, one to stop at and to calibrate on, one to measure on."""


@dataclass(frozen=True)
class Parts:
    """The images of one fold's training, as bool (images,): which are trained on, which decide when to stop and calibrate, and which are
    held out, on which alone the fold is measured."""

    trained: NDArray[np.bool_]
    stopping: NDArray[np.bool_]
    held_out: NDArray[np.bool_]


def assign_folds(images: pd.DataFrame, folds: int, seed: int) -> NDArray[np.int64]:
    """Deal the images into folds, stratified by class and grouped as `split` does: scikit-learn's StratifiedGroupKFold.

    Args:
        images: columns `diagnosis` and `group`.
        folds: number of folds.
        seed: of the order.

    Returns:
        The number of each image's fold, (images,).

    Raises:
        LesionflowError: a class has fewer groups than there are folds.
    """
    scarce = images.groupby("diagnosis")["group"].nunique().loc[lambda groups: groups < folds]
    if len(scarce):
        raise LesionflowError(
            f"too few lesions for {folds} folds: {', '.join(f'{name} has {count}' for name, count in scarce.items())} in training and"
            f" validation. Set cross_validation.folds to at most {max(LEAST_FOLDS, int(scarce.min()))}, or add images."
        )
    assigned = np.zeros(len(images), dtype=np.int64)
    dealer = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for number, (_, members) in enumerate(dealer.split(images, images["diagnosis"], images["group"])):
        assigned[members] = number
    return assigned


@dataclass(frozen=True)
class Dealt:
    """A fold of a repeat: their numbers, the seed of the repeat, which is also that of the fold's training, and the parts of the images."""

    repeat: int
    number: int
    seed: int
    parts: Parts


def deal(images: pd.DataFrame, params: CrossValidation, seed: int) -> Iterator[Dealt]:
    """Yield every fold of every repeat. Repeat 0 deals with `seed`, each further one with the next.

    Raises:
        LesionflowError: as `assign_folds`.
    """
    for repeat in range(params.repeats):
        assigned = assign_folds(images, params.folds, seed + repeat)
        for number in range(params.folds):
            yield Dealt(repeat, number, seed + repeat, parts_of(assigned, number))


def parts_of(assigned: NDArray[np.int64], number: int) -> Parts:
    """The parts of the images while a fold is held out: the next one stops the training."""
    held_out, stopping = assigned == number, assigned == (number + 1) % (assigned.max() + 1)
    return Parts(~held_out & ~stopping, stopping, held_out)
