"""Means over folds, whose trainings share images and are therefore not independent."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from components.core.reports.evaluation import Estimate
from components.evaluation.bootstrap import clip_estimate


def corrected_standard_error(values: Sequence[float], held_out: float) -> float:
    """Standard error of the mean over folds: the root of (1 / folds + held out / trained) times the variance between folds.

    The second term corrects for trainings that share images; without it the error is too small (corrected resampled t, Nadeau and Bengio
    2003, doi:10.1023/A:1024068626366).

    Args:
        values: one figure per fold, two or more.
        held_out: images held out in a fold divided by images trained on.
    """
    return float(np.sqrt((1 / len(values) + held_out) * np.var(values, ddof=1)))


def corrected_interval(mean: float, error: float, folds: int) -> Estimate:
    """A mean over folds with its 95 % interval by Student's t, from `corrected_standard_error`."""
    half = float(stats.t.ppf(0.975, folds - 1)) * error
    return Estimate(mean, mean - half, mean + half)


def corrected_mean(values: Sequence[float], held_out: float) -> Estimate:
    """Mean over folds of a figure from 0 to 1, with the 95 % interval of the corrected resampled t, within 0 and 1.

    Args:
        values, held_out: as for `corrected_standard_error`.
    """
    return clip_estimate(corrected_interval(float(np.mean(values)), corrected_standard_error(values, held_out), len(values)))
