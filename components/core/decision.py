"""Names a diagnosis from probabilities, and shifts them to another place. The served model runs a copy of this module."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SMALLEST = 1e-30
"""Probability that stands for 0, whose logarithm is not finite."""


def named_outputs(probabilities: NDArray[np.floating], offsets: "Sequence[float] | NDArray[np.floating]" = ()) -> NDArray[np.int64]:
    """Position of the output that is named for each image: the largest log probability plus offset.

    The offsets raise the critical class where a diagnosis is named, and leave the probabilities as they are.

    Args:
        probabilities: float (n, outputs).
        offsets: float (outputs,), added to the logarithms; empty: the likeliest output is named.
    """
    scores = probabilities if not np.any(offsets) else np.log(np.maximum(probabilities, SMALLEST)) + np.asarray(offsets)
    return np.asarray(scores.argmax(axis=1), dtype=np.int64)


def prediction_sets(probabilities: NDArray[np.floating], thresholds: "Sequence[float] | NDArray[np.floating]") -> NDArray[np.bool_]:
    """Whether each output is in an image's prediction set, shape (n, outputs): those at or above their threshold, and the likeliest.

    Args:
        probabilities: float (n, outputs).
        thresholds: float (outputs,), smallest probability of each output in a set.
    """
    inside = probabilities >= np.asarray(thresholds)
    inside[np.arange(len(probabilities)), probabilities.argmax(axis=1)] = True
    return np.asarray(inside)


def too_uncertain(probabilities: NDArray[np.floating], threshold: float) -> NDArray[np.bool_]:
    """Whether the model abstains from each image: its largest probability is below the threshold."""
    return np.asarray(probabilities.max(axis=1) < threshold)


def prior_shifted(probabilities: NDArray[np.floating], ratios: "Sequence[float] | NDArray[np.floating]") -> NDArray[np.float64]:
    """Probabilities at other class shares: each times its ratio, divided by their sum (Saerens et al. 2002,
    doi:10.1162/089976602753284446). It assumes that images of a class look alike in both places (Godau et al. 2023, arXiv:2303.12540).

    Args:
        probabilities: float (n, outputs) with rows that sum to one, calibrated to the former shares.
        ratios: float (outputs,), new share over former share.
    """
    weighted = probabilities * np.asarray(ratios)
    return np.asarray(weighted / weighted.sum(axis=1, keepdims=True), dtype=np.float64)
