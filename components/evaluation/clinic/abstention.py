"""What is gained, and who is left without an answer, if the model answers only the images it is surest of.

Sureness is the largest probability. Sizes of prediction sets are a worse measure of it (Mehrtens et al. 2023, arXiv:2506.18162).
"""

import numpy as np
from numpy.typing import NDArray

from components.evaluation.metrics import Floats

COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
"""Shares of the images that are answered."""


def coverage_threshold(confidence: Floats, coverage: float) -> float:
    """The highest threshold that at least this share of the images reaches.

    Args:
        confidence: largest probability of each image, (n,).
        coverage: above 0, at most 1.
    """
    wanted = int(np.ceil(round(coverage * len(confidence), 9)))
    return float(np.sort(confidence)[-wanted])


def coverage_thresholds(confidence: Floats) -> list[float]:
    """The different thresholds of COVERAGES, from the lowest."""
    return sorted({coverage_threshold(confidence, coverage) for coverage in COVERAGES})


def risk_curve(confidence: Floats, right: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Coverage and share of wrong answers at every threshold, from the surest image on (Geifman and El-Yaniv 2017, arXiv:1705.08500)."""
    order = np.argsort(-confidence, kind="stable")
    answered = np.arange(1, len(order) + 1)
    last_of_equal = np.append(np.diff(confidence[order]) != 0, True)
    return answered[last_of_equal] / len(order), (np.cumsum(~right[order]) / answered)[last_of_equal]
