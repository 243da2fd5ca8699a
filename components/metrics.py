"""Pure functions from truth and probabilities to figures, and the bootstrap that puts intervals around them.

Throughout: `truth` is int (n,), `probabilities` float (n, classes) with rows that sum to one, and a prediction is the
class with the largest probability.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest, rankdata
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

Ints = NDArray[np.integer]
Floats = NDArray[np.floating]
LEAD = 1e-4
"""By how much a raised logit leads, so that rounding in an exported model does not undo it."""
EXACT_BELOW = 200
"""Groups below which a proportion gets an exact interval: with few of them, or shares near 0 and 1, the bootstrap's is too narrow."""


@dataclass(frozen=True)
class Estimate:
    """A figure with the bounds of its 95 % interval."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high}


def confusion(truth: Ints, predicted: Ints, classes: int) -> NDArray[np.int64]:
    """Counts, shape (classes, classes): rows are the truth, columns the prediction."""
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def accuracy(truth: Ints, probabilities: Floats) -> float:
    """Share of images whose class is predicted."""
    return float((probabilities.argmax(axis=1) == truth).mean())


def balanced_accuracy(truth: Ints, probabilities: Floats) -> float:
    """Mean recall over the classes that occur in `truth`."""
    counts = confusion(truth, probabilities.argmax(axis=1), probabilities.shape[1])
    present = counts.sum(axis=1) > 0
    return float((np.diag(counts)[present] / counts.sum(axis=1)[present]).mean())


def macro_f1(truth: Ints, probabilities: Floats) -> float:
    """Mean F1 over the classes that occur in `truth`; a class that is never predicted counts as zero."""
    counts = confusion(truth, probabilities.argmax(axis=1), probabilities.shape[1])
    present = counts.sum(axis=1) > 0
    f1 = 2 * np.diag(counts) / np.maximum(counts.sum(axis=0) + counts.sum(axis=1), 1)
    return float(f1[present].mean())


def macro_auc(truth: Ints, probabilities: Floats) -> float:
    """Mean one-vs-rest area under the ROC curve, over classes of which some and not all images are.

    By the ranks of each class's images (Mann and Whitney 1947): scikit-learn's own takes fifty times as long, which a
    bootstrap of a thousand samples feels.
    """
    belongs = truth[:, None] == np.arange(probabilities.shape[1])
    inside = belongs.sum(axis=0)
    outside = len(truth) - inside
    defined = (inside > 0) & (outside > 0)
    if not defined.any():
        return float("nan")
    rank_sums = (rankdata(probabilities, axis=0) * belongs).sum(axis=0)
    above = rank_sums - inside * (inside + 1) / 2
    return float((above[defined] / (inside * outside)[defined]).mean())


def sensitivity(positive: NDArray[np.bool_], called: NDArray[np.bool_]) -> float:
    """Share of positive images that are called positive; nan where there is none."""
    return float(called[positive].mean()) if positive.any() else float("nan")


def specificity(positive: NDArray[np.bool_], called: NDArray[np.bool_]) -> float:
    """Share of negative images that are called negative; nan where there is none."""
    return float((~called[~positive]).mean()) if (~positive).any() else float("nan")


def per_class(truth: Ints, probabilities: Floats, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1, specificity, ROC AUC and image count of each class; AUC is left out where undefined."""
    predicted = probabilities.argmax(axis=1)
    labels = np.arange(len(names))
    precision, recall, f1, support = precision_recall_fscore_support(truth, predicted, labels=labels, zero_division=0)
    table: dict[str, dict[str, float]] = {}
    for number, name in enumerate(names):
        table[name] = {
            "precision": float(precision[number]),
            "recall": float(recall[number]),
            "f1": float(f1[number]),
            "specificity": specificity(truth == number, predicted == number),
            "images": int(support[number]),
        }
        if 0 < support[number] < len(truth):
            table[name]["roc_auc"] = float(roc_auc_score(truth == number, probabilities[:, number]))
    return table


def averages(truth: Ints, probabilities: Floats) -> dict[str, dict[str, float]]:
    """Macro (every class counts the same) and weighted (every image counts the same) precision, recall and F1."""
    predicted, result = probabilities.argmax(axis=1), {}
    for kind in ("macro", "weighted"):
        figures = precision_recall_fscore_support(truth, predicted, average=kind, zero_division=0)[:3]
        result[kind] = dict(zip(("precision", "recall", "f1"), map(float, figures), strict=True))
    return result


def reliability(truth: Ints, probabilities: Floats, bins: int) -> list[dict[str, float]]:
    """Equal-width bins of the largest probability: mean confidence, accuracy and images of each that is not empty."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        {"confidence": float(confidence[inside].mean()), "accuracy": float(right[inside].mean()), "images": int(inside.sum())}
        for number in range(bins)
        if (inside := bin_of == number).any()
    ]


def calibration_error(truth: Ints, probabilities: Floats, bins: int) -> float:
    """Expected calibration error of the predicted class, over equal-width bins (Guo et al. 2017, arXiv:1706.04599)."""
    table = reliability(truth, probabilities, bins)
    return sum(row["images"] * abs(row["accuracy"] - row["confidence"]) for row in table) / len(truth)


def negative_log_likelihood(truth: Ints, probabilities: Floats) -> float:
    """Mean of -log of the true class's probability."""
    return float(-np.log(np.clip(probabilities[np.arange(len(truth)), truth], 1e-12, None)).mean())


def fit_temperature(truth: Ints, at_temperature: Callable[[float], Floats]) -> float:
    """The temperature between 0.05 and 20 that minimises the negative log-likelihood (Guo et al. 2017).

    Args:
        truth: int (n,), of images the model was not trained on.
        at_temperature: the probabilities at a temperature, float (n, classes).
    """

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(truth, at_temperature(float(np.exp(log_temperature))))

    bounds = (float(np.log(0.05)), float(np.log(20)))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def lift_for(behind: Floats, sensitivity: float) -> float:
    """The least that a logit must be raised by, 0 at least, for this share of positive images to be called positive.

    Args:
        behind: float (n,), how far each positive image's logit is behind the largest of the others; negative where it leads.
        sensitivity: share of the images, 0 to 1.
    """
    wanted = int(np.ceil(round(sensitivity * len(behind), 9)))
    return max(0.0, float(np.sort(behind)[wanted - 1]) + LEAD) if wanted else 0.0


def resamples(groups: NDArray[np.generic], count: int, seed: int) -> list[NDArray[np.intp]]:
    """Index arrays of `count` bootstrap samples that draw whole groups with replacement.

    Images of one lesion are not independent, so lesions and not images are drawn (cluster bootstrap, Field and Welsh 2007).
    """
    random = np.random.default_rng(seed)
    _, number = np.unique(groups, return_inverse=True)
    members = np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number))[:-1])
    return [np.concatenate([members[at] for at in random.integers(len(members), size=len(members))]) for _ in range(count)]


def interval(value: float, sampled: Sequence[float]) -> Estimate:
    """The figure with a 95 % percentile interval, corrected for the bootstrap's own bias; undefined values are left out.

    The percentiles are shifted by (value - mean of resampled values), Efron and Tibshirani 1993, chapter 10. For recalls
    that is next to nothing; a calibration error, though, grows with every resampling, since repeated images look certain.
    """
    values = np.asarray(sampled, dtype=float)
    low, high = np.nanpercentile(values, [2.5, 97.5]) + (value - np.nanmean(values))
    return Estimate(value, float(low), float(high))


def bootstrap(statistic: Callable[[NDArray[np.intp]], float], samples: list[NDArray[np.intp]], images: int) -> Estimate:
    """Percentile interval of a statistic, which is given the indices of the images to compute it on."""
    return interval(statistic(np.arange(images)), [statistic(sample) for sample in samples])


def proportion(right: NDArray[np.bool_], groups: NDArray[np.generic], resampled: Estimate) -> Estimate:
    """The share of images that are right, with an interval that holds for few groups and for shares near 0 and 1.

    A bootstrap of 17 images that are all right gives an interval of no width. Below EXACT_BELOW groups the interval of Clopper and
    Pearson 1934 (doi:10.1093/biomet/26.4.404) on the number of groups is joined to it. Successes are the sum over groups of the
    share of their images that are right, rounded down for the lower bound and up for the upper.

    Args:
        right: bool (n,).
        groups: the group (lesion) of each image, (n,).
        resampled: the share with its bootstrap interval over the same groups.

    Returns:
        an interval that is never narrower than the bootstrap's, within 0 and 1.
    """
    low, high = resampled.low, resampled.high
    _, number = np.unique(groups, return_inverse=True)
    sizes = np.bincount(number)
    if 0 < len(sizes) < EXACT_BELOW:
        successes = round(float((np.bincount(number, weights=right) / sizes).sum()), 9)
        low = min(low, binomtest(int(np.floor(successes)), len(sizes)).proportion_ci(0.95, "exact").low)
        high = max(high, binomtest(int(np.ceil(successes)), len(sizes)).proportion_ci(0.95, "exact").high)
    return Estimate(resampled.value, max(0.0, float(low)), min(1.0, float(high)))
