"""Estimates with 95 % intervals: a cluster bootstrap over groups, combined with exact intervals if there are few groups."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Resampling:
    """Bootstrap samples of a set of images.

    Attributes:
        groups: the group (lesion) of each image, (n,).
        samples: indices of the images of each sample, as from `cluster_bootstrap_indices`.
    """

    groups: NDArray[np.generic]
    samples: list[NDArray[np.intp]]

    @classmethod
    def of_groups(cls, groups: NDArray[np.generic], count: int, seed: int) -> "Resampling":
        """Draw `count` samples of whole groups."""
        return cls(groups, cluster_bootstrap_indices(groups, count, seed))

    def share(self, counted: NDArray[np.bool_], right: NDArray[np.bool_]) -> Estimate:
        """Share of the images in `counted` that are in `right`, with its interval by `proportion_estimate`.

        Args:
            counted: bool (n,), true for at least one image.
            right: bool (n,).
        """

        def share(at: NDArray[np.intp]) -> float:
            inside = counted[at]
            return float(right[at][inside].mean()) if inside.any() else float("nan")

        found = bootstrap_estimate(share, self.samples, len(self.groups))
        return proportion_estimate(right[counted], self.groups[counted], found)

    def estimates(self, statistics: Callable[[NDArray[np.intp]], Mapping[str, float]]) -> dict[str, Estimate]:
        """Bootstrap intervals of several figures that are computed together, without those that are undefined.

        Args:
            statistics: function from indices of images to the figures by name, nan where a figure is undefined.
        """
        values = statistics(np.arange(len(self.groups)))
        sampled = [statistics(sample) for sample in self.samples]
        columns = {name: np.array([row[name] for row in sampled]) for name, value in values.items() if np.isfinite(value)}
        return {
            name: _with_its_value(percentile_interval(values[name], column.tolist()))
            for name, column in columns.items()
            if np.isfinite(column).any()
        }


def clip_estimate(estimate: Estimate, low: float = 0.0, high: float = 1.0) -> Estimate:
    """The estimate with the bounds of its interval within the range that the figure can have."""
    return Estimate(estimate.value, max(low, estimate.low), min(high, estimate.high))


def _with_its_value(estimate: Estimate) -> Estimate:
    """The estimate with an interval that holds its value, which the correction of a skewed figure's bias can miss."""
    return Estimate(estimate.value, min(estimate.low, estimate.value), max(estimate.high, estimate.value))
