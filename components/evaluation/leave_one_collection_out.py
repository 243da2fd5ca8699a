"""Leave-one-collection-out evaluation of a linear head on features of the frozen base.

A collection is the images of one clinic or archive, with its own dermoscopes, patients and framing. Fine-tuning again without each
collection would take days, so a logistic regression is fitted on the frozen base's features instead.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.core.reports.evaluation import CollectionResult
from components.evaluation import bootstrap, metrics

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

Features = NDArray[np.float32]
REGULARISATION = 0.003
"""Inverse strength of the L2 penalty, on features of mean 0 and variance 1; the best of 0.00003, 0.0003 and 0.003 on validation of
isic9."""


@dataclass(frozen=True)
class ImageFeatures:
    """`images` has one row per image (diagnosis, collection, group); `features`, shape (n, width), has one row for each."""

    images: pd.DataFrame
    features: Features

    def where(self, chosen: NDArray[np.bool_]) -> "ImageFeatures":
        """Select the images for which `chosen`, shape (n,), is true."""
        return ImageFeatures(self.images[chosen], self.features[chosen])


def leave_one_collection_out(train: ImageFeatures, test: ImageFeatures, resamples: int, seed: int) -> dict[str, CollectionResult]:
    """Drop of balanced accuracy on each collection's test images when the collection is excluded from training.

    Measured on the classes that occur both in the collection's test images and in the other collections' training images. Empty if
    the training images are from fewer than two collections; a collection that shares fewer than two classes with the others is
    skipped.

    Args:
        resamples: number of bootstrap samples of groups.
        seed: seed of the bootstrap.

    Returns:
        For each collection: images and classes evaluated, balanced_accuracy of the head trained without it, and drop, the difference
        to the head trained with it, with its paired bootstrap interval.
    """
    home, origin = (split.images["collection"].to_numpy(dtype=object) for split in (train, test))
    if len(pd.unique(train.images["collection"].dropna())) < 2:
        return {}
    found = {}
    for name in sorted(pd.unique(test.images["collection"].dropna())):
        elsewhere, here = home != name, origin == name
        shared = sorted(set(train.images["diagnosis"][elsewhere]) & set(test.images["diagnosis"][here]))
        if len(shared) < 2:
            continue
        known, tested = (np.isin(split.images["diagnosis"].to_numpy(dtype=str), shared) for split in (train, test))
        measured = test.where(tested & here)
        samples = bootstrap.cluster_bootstrap_indices(measured.images["group"].to_numpy(), resamples, seed)
        found[name] = _cost(train.where(known), train.where(known & elsewhere), measured, shared, samples)
    return found


def _cost(
    whole: ImageFeatures, rest: ImageFeatures, test: ImageFeatures, classes: list[str], samples: list[NDArray[np.intp]]
) -> CollectionResult:
    truth = np.array([classes.index(name) for name in test.images["diagnosis"]])
    seen, unseen = (_predicted(train, test.features) for train in (whole, rest))

    def drop(at: NDArray[np.intp]) -> float:
        return metrics.balanced_accuracy(truth[at], seen[at]) - metrics.balanced_accuracy(truth[at], unseen[at])

    return CollectionResult(
        images=len(truth),
        classes=tuple(classes),
        balanced_accuracy=metrics.balanced_accuracy(truth, unseen),
        drop=bootstrap.bootstrap_estimate(drop, samples, len(truth)),
    )


def _predicted(train: ImageFeatures, features: Features) -> NDArray[np.int64]:
    """Position of the predicted class among the classes in alphabetical order."""
    return np.asarray(linear_head(train.features, train.images["diagnosis"].to_numpy()).predict_proba(features).argmax(axis=1))


def linear_head(features: Features, labels: NDArray[np.generic]) -> "Pipeline":
    """Fit a class-balanced logistic regression on standardized features: steps "standardscaler", "logisticregression"."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    head = make_pipeline(StandardScaler(), LogisticRegression(C=REGULARISATION, class_weight="balanced", max_iter=1000))
    return head.fit(features, labels)
