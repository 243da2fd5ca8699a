"""Pure functions from truth and probabilities to metrics.

Throughout: `truth` and `predicted` are int (n,), the positions of the true and of the named class, and `probabilities` is float
(n, classes) with rows that sum to one.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

Ints = NDArray[np.integer]
Floats = NDArray[np.floating]


def confusion_matrix(truth: Ints, predicted: Ints, classes: int) -> NDArray[np.int64]:
    """Counts, shape (classes, classes): rows are the truth, columns the prediction."""
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def accuracy(truth: Ints, predicted: Ints) -> float:
    """Share of images whose predicted class is correct."""
    return float((predicted == truth).mean())


def balanced_accuracy(truth: Ints, predicted: Ints) -> float:
    """Mean recall over the classes that occur in `truth`."""
    counts = _counts(truth, predicted)
    present = counts.sum(axis=1) > 0
    return float((np.diag(counts)[present] / counts.sum(axis=1)[present]).mean())


def macro_f1(truth: Ints, predicted: Ints) -> float:
    """Mean F1 over the classes that occur in `truth`; a class that is never predicted counts as zero."""
    counts = _counts(truth, predicted)
    present = counts.sum(axis=1) > 0
    f1 = 2 * np.diag(counts) / np.maximum(counts.sum(axis=0) + counts.sum(axis=1), 1)
    return float(f1[present].mean())


def _counts(truth: Ints, predicted: Ints) -> NDArray[np.int64]:
    """The confusion matrix of as many classes as occur."""
    return confusion_matrix(truth, predicted, int(max(truth.max(), predicted.max())) + 1)


def macro_auc(truth: Ints, probabilities: Floats) -> float:
    """Mean one-vs-rest area under the ROC curve, over classes with positive and negative images.

    Computed from the ranks of each class's images (Mann and Whitney 1947): scikit-learn's function takes fifty times as long, which
    is too slow for a bootstrap of a thousand samples.
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
    """Share of positive images that are predicted positive; nan if there are none."""
    return float(called[positive].mean()) if positive.any() else float("nan")


def specificity(positive: NDArray[np.bool_], called: NDArray[np.bool_]) -> float:
    """Share of negative images that are predicted negative; nan if there are none."""
    return float((~called[~positive]).mean()) if (~positive).any() else float("nan")


def per_class(truth: Ints, predicted: Ints, probabilities: Floats, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1, specificity, ROC AUC and image count of each class; AUC is omitted if undefined."""
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


def macro_averages(truth: Ints, predicted: Ints) -> dict[str, dict[str, float]]:
    """Macro-averaged (equal weight per class) and weighted (equal weight per image) precision, recall and F1."""
    result = {}
    for kind in ("macro", "weighted"):
        averaged = precision_recall_fscore_support(truth, predicted, average=kind, zero_division=0)[:3]
        result[kind] = dict(zip(("precision", "recall", "f1"), map(float, averaged), strict=True))
    return result


def reliability_table(truth: Ints, probabilities: Floats, bins: int) -> list[dict[str, float]]:
    """Equal-width bins of the largest probability: mean confidence, accuracy of the likeliest class and image count of each non-empty
    bin."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        {"confidence": float(confidence[inside].mean()), "accuracy": float(right[inside].mean()), "images": int(inside.sum())}
        for number in range(bins)
        if (inside := bin_of == number).any()
    ]


def expected_calibration_error(truth: Ints, probabilities: Floats, bins: int) -> float:
    """Expected calibration error of the likeliest class, over equal-width bins (Guo et al. 2017, arXiv:1706.04599)."""
    table = reliability_table(truth, probabilities, bins)
    return sum(row["images"] * abs(row["accuracy"] - row["confidence"]) for row in table) / len(truth)
