"""A model's probabilities on labeled images, and the headline metrics computed from them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.core import decision
from components.core.label_set import LabelSet
from components.core.reports.evaluation import Estimate
from components.evaluation import bootstrap, metrics

Indices = NDArray[np.intp]
HEADLINE_METRICS = (
    "balanced_accuracy",
    "accuracy",
    "macro_f1",
    "macro_auc",
    "critical_sensitivity",
    "malignant_sensitivity",
    "malignant_specificity",
    "calibration_error",
)
"""Names of all headline metrics; `defined` selects those that are defined for a label set."""
CRITICAL_METRICS = ("critical_sensitivity",)
MALIGNANT_METRICS = ("malignant_sensitivity", "malignant_specificity")

PREDICTED = "predicted"
"""Column of a table of predictions with the name of the predicted output."""
CALLED_MALIGNANT_FROM = 0.5
"""Malignant probability from which an image is called malignant."""
FEW_GROUPS = 10
"""Number of test groups of a class below which its recall, and therefore balanced accuracy, is unreliable."""


def defined(names: Iterable[str], labels: LabelSet) -> tuple[str, ...]:
    """Those of the metrics that are defined for a label set: none of its critical class or of malignancy if it does not tell these."""
    undefined = (*(() if labels.critical else CRITICAL_METRICS), *(() if labels.separates_malignant else MALIGNANT_METRICS))
    return tuple(name for name in names if name not in undefined)


@dataclass(frozen=True)
class Predictions:
    """A model's answers for labeled images.

    Attributes:
        images: one row per image (path, pixels_sha256, diagnosis, group).
        probabilities: float (n, outputs of `labels`).
        labels: the label set.
        named: int (n,), position of the output that the model names; None: the likeliest one.
    """

    images: pd.DataFrame
    probabilities: NDArray[np.floating]
    labels: LabelSet
    named: NDArray[np.int64] | None = None

    @cached_property
    def truth(self) -> NDArray[np.int64]:
        """Target of each image."""
        return np.array(self.labels.encode(self.images["diagnosis"]), dtype=np.int64)

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """Position of the output that each image is predicted as."""
        return decision.named_outputs(self.probabilities) if self.named is None else self.named

    @cached_property
    def malignant(self) -> NDArray[np.bool_]:
        """Whether each image shows a malignant lesion."""
        return np.isin(self.images["diagnosis"].to_numpy(dtype=str), list(self.labels.malignant))

    @cached_property
    def critical(self) -> NDArray[np.bool_]:
        """Whether each image shows the critical class; a column `critical` of older predictions takes precedence
        (former_predictions.with_output_diagnoses)."""
        if "critical" in self.images:
            return self.images["critical"].to_numpy(dtype=bool)
        return np.asarray(self.images["diagnosis"].to_numpy(dtype=str) == self.labels.critical)

    @cached_property
    def malignant_probability(self) -> NDArray[np.floating]:
        """Sum of the probabilities of the malignant outputs, (n,)."""
        return np.asarray(self.probabilities[:, self.labels.positions(self.labels.malignant)].sum(axis=1))

    @cached_property
    def called_malignant(self) -> NDArray[np.bool_]:
        """Whether the malignant outputs have at least half of the probability in total."""
        return self.malignant_probability >= CALLED_MALIGNANT_FROM

    @cached_property
    def called_critical(self) -> NDArray[np.bool_]:
        """Whether the prediction is the critical class.

        Raises:
            ValueError: the label set has none.
        """
        if self.labels.critical is None:
            raise ValueError(f"label set {self.labels.name} has no critical class")
        return self.predicted == self.labels.outputs.index(self.labels.critical)

    def headline(self, name: str, at: Indices, bins: int) -> float:
        """One headline metric on the images at these indices."""
        truth, predicted, probabilities = self.truth[at], self.predicted[at], self.probabilities[at]
        functions: dict[str, Callable[[], float]] = {
            "accuracy": lambda: metrics.accuracy(truth, predicted),
            "balanced_accuracy": lambda: metrics.balanced_accuracy(truth, predicted),
            "macro_f1": lambda: metrics.macro_f1(truth, predicted),
            "macro_auc": lambda: metrics.macro_auc(truth, probabilities),
            "calibration_error": lambda: metrics.expected_calibration_error(truth, probabilities, bins),
            "critical_sensitivity": lambda: metrics.sensitivity(self.critical[at], self.called_critical[at]),
            "malignant_sensitivity": lambda: metrics.sensitivity(self.malignant[at], self.called_malignant[at]),
            "malignant_specificity": lambda: metrics.specificity(self.malignant[at], self.called_malignant[at]),
        }
        return functions[name]()

    def estimates(self, names: Sequence[str], samples: list[Indices], bins: int) -> dict[str, Estimate]:
        """Headline metrics with 95 % intervals: by `bootstrap.proportion_estimate` for proportions, otherwise by the bootstrap samples."""
        groups = self.images["group"].to_numpy()
        proportions: dict[str, Callable[[], tuple[NDArray[np.bool_], NDArray[np.bool_]]]] = {
            "accuracy": lambda: (np.ones(len(groups), dtype=bool), self.predicted == self.truth),
            "critical_sensitivity": lambda: (self.critical, self.called_critical),
            "malignant_sensitivity": lambda: (self.malignant, self.called_malignant),
            "malignant_specificity": lambda: (~self.malignant, ~self.called_malignant),
        }

        def estimate(name: str) -> Estimate:
            found = bootstrap.bootstrap_estimate(lambda at: self.headline(name, at, bins), samples, len(self.images))
            if name in proportions:
                counted, right = proportions[name]()
                return bootstrap.proportion_estimate(right[counted], groups[counted], found)
            return Estimate(found.value, max(0.0, found.low), min(1.0, found.high))

        return {name: estimate(name) for name in names}

    def recalls(self, samples: list[Indices]) -> dict[str, Estimate]:
        """Recall of each output that has images, with its interval as in `estimates`."""
        resampling, found = bootstrap.Resampling(self.images["group"].to_numpy(), samples), {}
        for number, name in enumerate(self.labels.outputs):
            counted, right = self.truth == number, self.predicted == number
            if counted.any():
                found[name] = resampling.share(counted, right)
        return found

    def few_groups(self) -> dict[str, int]:
        """Outputs with fewer than FEW_GROUPS groups of images, with their number of groups."""
        groups = self.images["group"].to_numpy()
        counts = {name: len(np.unique(groups[self.truth == number])) for number, name in enumerate(self.labels.outputs)}
        return {name: count for name, count in counts.items() if count < FEW_GROUPS}

    def table(self) -> pd.DataFrame:
        """Table of the images with the predicted output and one probability column per output, in order."""
        columns = pd.DataFrame(self.probabilities, columns=[f"p_{name}" for name in self.labels.outputs])
        names = np.array(self.labels.outputs)[self.predicted]
        return pd.concat([self.images.reset_index(drop=True).assign(**{PREDICTED: names}), columns], axis=1)

    def where(self, at: Indices) -> "Predictions":
        """The predictions of the images at these indices."""
        named = None if self.named is None else self.named[at]
        return replace(self, images=self.images.iloc[at].reset_index(drop=True), probabilities=self.probabilities[at], named=named)

    @classmethod
    def of_table(cls, table: pd.DataFrame, labels: LabelSet) -> "Predictions":
        """Convert a table from `table` back; one of an older release does not have the predicted output, which is the likeliest there."""
        columns = [f"p_{name}" for name in labels.outputs]
        named = np.array(labels.encode(table[PREDICTED]), dtype=np.int64) if PREDICTED in table else None
        images = table.drop(columns=[*columns, PREDICTED], errors="ignore")
        return cls(images, table[columns].to_numpy(dtype=float), labels, named)


def paired_difference(first: Predictions, second: Predictions, name: str, samples: list[Indices], bins: int) -> Estimate:
    """Difference `first` - `second` of a headline metric on the same images, with its paired bootstrap interval."""
    if not first.images["pixels_sha256"].equals(second.images["pixels_sha256"]):
        raise ValueError("a paired comparison requires the same images in the same order")
    return bootstrap.bootstrap_estimate(
        lambda at: first.headline(name, at, bins) - second.headline(name, at, bins), samples, len(first.images)
    )
