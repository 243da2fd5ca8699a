"""Estimates with 95 % intervals: a cluster bootstrap over groups, combined with exact intervals if there are few groups."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from components.core.reports.evaluation import Estimate

EXACT_BELOW = 200
"""Number of groups below which a proportion gets an exact interval: with few groups, or shares near 0 and 1, the bootstrap interval is
too narrow."""


def cluster_bootstrap_indices(groups: NDArray[np.generic], count: int, seed: int) -> list[NDArray[np.intp]]:
    """Index arrays of `count` bootstrap samples that draw whole groups with replacement.

    Images of one lesion are not independent, so lesions are drawn instead of images (cluster bootstrap, Field and Welsh 2007).
    """
    random = np.random.default_rng(seed)
    _, number = np.unique(groups, return_inverse=True)
    members = np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number))[:-1])
    return [np.concatenate([members[at] for at in random.integers(len(members), size=len(members))]) for _ in range(count)]


def percentile_interval(value: float, sampled: Sequence[float]) -> Estimate:
    """Percentile interval (95 %) of a metric, corrected for the bootstrap's bias; undefined values are ignored.

    The percentiles are shifted by (value - mean of resampled values), Efron and Tibshirani 1993, chapter 10. For recalls the shift is
    negligible, but a calibration error is biased upwards by resampling, since it contains images repeatedly.
    """
    values = np.asarray(sampled, dtype=float)
    low, high = np.nanpercentile(values, [2.5, 97.5]) + (value - np.nanmean(values))
    return Estimate(value, float(low), float(high))


def bootstrap_estimate(statistic: Callable[[NDArray[np.intp]], float], samples: list[NDArray[np.intp]], images: int) -> Estimate:
    """Percentile interval of a statistic, a function of the indices of the images to compute it on."""
    return percentile_interval(statistic(np.arange(images)), [statistic(sample) for sample in samples])


def proportion_estimate(right: NDArray[np.bool_], groups: NDArray[np.generic], resampled: Estimate) -> Estimate:
    """Share of correct images, with an interval that is valid for few groups and for shares near 0 and 1.

    A bootstrap of 17 images that are all correct gives an interval of width zero. Below EXACT_BELOW groups, the result is the union of
    the bootstrap interval and the exact interval of Clopper and Pearson 1934 (doi:10.1093/biomet/26.4.404) on the number of groups.
    Successes are the sum over groups of the share of their correct images, rounded down for the lower bound and up for the upper.

    Args:
        right: bool (n,).
        groups: the group (lesion) of each image, (n,).
        resampled: the share with its bootstrap interval over the same groups.

    Returns:
        an interval that is never narrower than the bootstrap interval, within 0 and 1.
    """
    low, high = resampled.low, resampled.high
    _, number = np.unique(groups, return_inverse=True)
    sizes = np.bincount(number)
    if 0 < len(sizes) < EXACT_BELOW:
        successes = round(float((np.bincount(number, weights=right) / sizes).sum()), 9)
        low = min(low, binomtest(int(np.floor(successes)), len(sizes)).proportion_ci(0.95, "exact").low)
        high = max(high, binomtest(int(np.ceil(successes)), len(sizes)).proportion_ci(0.95, "exact").high)
    return Estimate(resampled.value, max(0.0, float(low)), min(1.0, float(high)))
