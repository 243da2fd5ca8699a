"""How the base's features carry to a collection of images that the head was not fitted on.

A collection is a clinic's or an archive's images: other dermoscopes, other patients, other framing. Fine-tuning anew without each
would take days, so what is fitted and left out is a logistic regression on the frozen base's features.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.core.reports.evaluation import CollectionCost
from components.evaluation import bootstrap, metrics

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

Features = NDArray[np.float32]
REGULARISATION = 0.003
"""Inverse strength of the L2 penalty, on features of mean 0 and variance 1; the best of 0.00003, 0.0003 and 0.003 on validation of
isic9."""


@dataclass(frozen=True)
class Featured:
    """`images` has a row per image (diagnosis, collection, group), `features`, shape (n, width), a row for each."""

    images: pd.DataFrame
    features: Features

    def where(self, chosen: NDArray[np.bool_]) -> "Featured":
        """The images that `chosen`, shape (n,), is true for."""
        return Featured(self.images[chosen], self.features[chosen])


def left_out(train: Featured, test: Featured, resamples: int, seed: int) -> dict[str, CollectionCost]:
    """What leaving each collection out of training costs on its own test images.

    Measured among the classes that the collection's test images and the other collections' training images both have. Empty where
    training images are of fewer than two collections; a collection that shares fewer than two classes with the others is passed over.

    Args:
        resamples: resamples, of groups.
        seed: of the resampling.

    Returns:
        for each collection: images and classes measured on, balanced_accuracy of the head that never saw it, and drop, how much
        more a head reaches that did, with its paired bootstrap interval.
    """
    home, origin = (side.images["collection"].to_numpy(dtype=object) for side in (train, test))
    if len(pd.unique(train.images["collection"].dropna())) < 2:
        return {}
    found = {}
    for name in sorted(pd.unique(test.images["collection"].dropna())):
        elsewhere, here = home != name, origin == name
        shared = sorted(set(train.images["diagnosis"][elsewhere]) & set(test.images["diagnosis"][here]))
        if len(shared) < 2:
            continue
        known, asked = (np.isin(side.images["diagnosis"].to_numpy(dtype=str), shared) for side in (train, test))
        measured = test.where(asked & here)
        samples = bootstrap.resamples(measured.images["group"].to_numpy(), resamples, seed)
        found[name] = _cost(train.where(known), train.where(known & elsewhere), measured, shared, samples)
    return found


def _cost(whole: Featured, rest: Featured, test: Featured, classes: list[str], samples: list[NDArray[np.intp]]) -> CollectionCost:
    truth = np.array([classes.index(name) for name in test.images["diagnosis"]])
    seen, unseen = (_probabilities(train, test.features) for train in (whole, rest))

    def drop(at: NDArray[np.intp]) -> float:
        return metrics.balanced_accuracy(truth[at], seen[at]) - metrics.balanced_accuracy(truth[at], unseen[at])

    return CollectionCost(
        images=len(truth),
        classes=tuple(classes),
        balanced_accuracy=metrics.balanced_accuracy(truth, unseen),
        drop=bootstrap.bootstrap(drop, samples, len(truth)),
    )


def _probabilities(train: Featured, features: Features) -> NDArray[np.float64]:
    """Columns in alphabetical order of the classes."""
    found: NDArray[np.float64] = linear_head(train.features, train.images["diagnosis"].to_numpy()).predict_proba(features)
    return found


def linear_head(features: Features, labels: NDArray[np.generic]) -> "Pipeline":
    """A class-balanced logistic regression fitted on features of mean 0 and variance 1: steps "standardscaler", "logisticregression"."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    head = make_pipeline(StandardScaler(), LogisticRegression(C=REGULARISATION, class_weight="balanced", max_iter=1000))
    return head.fit(features, labels)
