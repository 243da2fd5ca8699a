"""The figures of a cross-validation, from the predictions of its folds. All functions are pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from components.core.label_set import LabelSet
from components.core.reports.cross_validation import Bin, CrossValidation, Fold, Suspect
from components.evaluation import bootstrap, metrics, subgroups
from components.evaluation.predictions import HEADLINE_METRICS, Predictions, defined
from components.runtime.params import Settings
from components.search.identity import sha256_of
from components.search.statistics import corrected_mean

SURE = 0.5
"""Mean probability of another class from which an image may be a suspect."""


@dataclass(frozen=True)
class FoldPredictions:
    """What one training predicts for the images that it held out; `trained`: number of images that it was trained on."""

    repeat: int
    number: int
    held_out: Predictions
    trained: int
    epochs: int

    @property
    def share(self) -> float:
        """Images held out divided by images trained on."""
        return len(self.held_out.images) / self.trained


def fold_figures(held_out: Predictions, bins: int) -> dict[str, float]:
    """The headline metrics that are defined on these images."""
    every = np.arange(len(held_out.images))
    found = {name: held_out.headline(name, every, bins) for name in defined(HEADLINE_METRICS, held_out.labels)}
    return {name: value for name, value in found.items() if np.isfinite(value)}


def measure(folds: Sequence[FoldPredictions], images: pd.DataFrame, labels: LabelSet, settings: Settings) -> CrossValidation:
    """The report of a cross-validation.

    Args:
        folds: every fold of every repeat.
        images: one row per image, sorted by path: the columns of build/splits.parquet.
        labels: the label set.
        settings: number of bins, resamples, the smallest subgroup, and the phase.
    """
    bins, params = settings.evaluate.calibration_bins, settings.evaluate
    described, share = [describe(fold, bins) for fold in folds], float(np.mean([fold.share for fold in folds]))
    repeats = [pool([fold for fold in folds if fold.repeat == repeat]) for repeat in sorted({fold.repeat for fold in folds})]
    first = repeats[0]
    samples = bootstrap.cluster_bootstrap_indices(first.images["group"].to_numpy(), params.bootstrap_resamples, settings.seed)
    method = subgroups.Method(params.min_subgroup_groups, params.bootstrap_resamples, bins, settings.seed)
    names = [name for name in described[0].figures if all(name in fold.figures for fold in described)]
    return CrossValidation(
        calibration=reliability(first, bins),
        confusion=metrics.confusion_matrix(first.truth, first.predicted, len(labels.outputs)).tolist(),
        deal=identify_deal(folds),
        folds=tuple(described),
        held_out_share=share,
        images=len(first.images),
        groups=int(first.images["group"].nunique()),
        label_set=labels,
        mean={name: corrected_mean([fold.figures[name] for fold in described], share) for name in names},
        phase=settings.cross_validation.phase,
        pooled=first.estimates(names, samples, bins),
        recall=first.recalls(samples),
        subgroups=subgroups.measure_subgroups(first, subgroups.subgroup_values(images), method),
        suspects=find_suspects(repeats),
    )


def identify_deal(folds: Sequence[FoldPredictions]) -> str:
    """A hash of which images, by their pixels, each fold holds out."""
    held_out = sorted((fold.repeat, fold.number, *sorted(fold.held_out.images["pixels_sha256"])) for fold in folds)
    return sha256_of({"held_out": held_out})


def describe(fold: FoldPredictions, bins: int) -> Fold:
    """The fold as the report has it."""
    return Fold(fold.repeat, fold.number, len(fold.held_out.images), fold.epochs, fold_figures(fold.held_out, bins))


def reliability(pooled: Predictions, bins: int) -> tuple[Bin, ...]:
    """The bins of the largest probability that hold images."""
    table = metrics.reliability_table(pooled.truth, pooled.probabilities, bins)
    return tuple(Bin(row["confidence"], row["accuracy"], int(row["images"])) for row in table)


def pool(folds: Sequence[FoldPredictions]) -> Predictions:
    """The predictions of one repeat's folds on all images, sorted by path."""
    tables = pd.concat([fold.held_out.table() for fold in folds], ignore_index=True).sort_values("path", ignore_index=True)
    return Predictions.of_table(tables, folds[0].held_out.labels)


def find_suspects(repeats: Sequence[Predictions]) -> tuple[Suspect, ...]:
    """Images whose label confident learning doubts (Northcutt et al. 2021, arXiv:1911.00068, by cleanlab) and for which every repeat names
    the same other class, with a mean probability of at least SURE. Those with the least probability of their own class come first.

    Args:
        repeats: the predictions of each repeat on all images, in the same order.
    """
    from cleanlab.filter import find_label_issues

    mean = np.mean([found.probabilities for found in repeats], axis=0)
    truth, outputs, images = repeats[0].truth, repeats[0].labels.outputs, repeats[0].images
    named = mean.argmax(axis=1)
    agreed = np.all([found.probabilities.argmax(axis=1) == named for found in repeats], axis=0)
    doubted = find_label_issues(truth, mean, return_indices_ranked_by="self_confidence", n_jobs=1)
    return tuple(
        Suspect(str(images["path"][at]), outputs[truth[at]], outputs[named[at]], float(mean[at, truth[at]]))
        for at in doubted
        if agreed[at] and named[at] != truth[at] and mean[at, named[at]] >= SURE
    )
