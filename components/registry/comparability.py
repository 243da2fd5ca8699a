"""The test images on which a challenger is compared with the champion: those that neither model was trained, stopped or calibrated on."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from components.core.reports.registration import Rule
from components.evaluation.predictions import Indices, Predictions, defined
from components.runtime.params import Register

COMPARED_METRICS = ("balanced_accuracy", "critical_sensitivity")
"""The metrics in which a challenger is compared with other versions."""
RULE = "comparable with the champion"
SEEN_SPLITS = ("train", "validation")
"""Splits that a model has seen: it is fitted on the first, and early stopping, lift and calibration use the second."""
A_PERSON_DECIDES = "a person decides: `lesionflow champion promote VERSION --override REASON`"


@dataclass(frozen=True)
class ComparisonSet:
    """The images on which a challenger is compared with the champion.

    Attributes:
        challenger: the challenger's predictions of these images.
        metrics: those of COMPARED_METRICS that the images are enough for; empty if the two are not comparable.
        rule: the result of the rule `comparable with the champion`.
    """

    challenger: Predictions
    metrics: tuple[str, ...]
    rule: Rule


def all_images(challenger: Predictions, champion: str) -> ComparisonSet:
    """Every test image: the champion, a version number, has the same test split, so it saw none of them."""
    says = f"all {challenger.images['group'].nunique()} test groups, since version {champion} has the same test split"
    return ComparisonSet(challenger, defined(COMPARED_METRICS, challenger.labels), Rule(RULE, True, says))


def no_images(challenger: Predictions, champion: str) -> ComparisonSet:
    """No image: the champion has another test split, and what it was trained on is not known."""
    says = (
        f"not comparable: version {champion} has another test split, and no evidence tells which images it was trained on,"
        f" so it may have seen any of the {challenger.images['group'].nunique()} test groups; {A_PERSON_DECIDES}"
    )
    return ComparisonSet(challenger.where(np.arange(0)), (), Rule(RULE, False, says))


def unseen_images(challenger: Predictions, champion: str, split: pd.DataFrame, thresholds: Register) -> ComparisonSet:
    """The test images of the groups that the champion has not seen.

    Args:
        challenger: the test predictions of the challenger.
        champion: the number of the champion.
        split: the split of the champion, as in its evidence.
        thresholds: section `register` of params.yaml.
    """
    labels = challenger.labels
    unseen = challenger.where(unseen_positions(challenger.images, split))
    count, of, required = _groups(unseen), _groups(challenger), thresholds.min_comparable_groups
    said = [f"{count} of {of} test groups were seen by neither model, at least {required} required"]
    metrics, verdict = defined(COMPARED_METRICS, labels), ""
    if labels.critical is not None:
        found, of, least = _critical_groups(unseen), _critical_groups(challenger), max(1, thresholds.min_critical_groups)
        said.append(f"{found} of {of} {labels.critical} test groups, at least {least} required")
        if found < least:
            metrics = tuple(name for name in metrics if name != "critical_sensitivity")
            verdict = f"{labels.metric_label('critical_sensitivity')} is not comparable: "
    if count < required:
        metrics, verdict = (), "not comparable: "
    absent = [name for name in labels.outputs if name not in set(unseen.images["diagnosis"])]
    if 0 < len(absent) < len(labels.outputs):
        said.append(f"none of {', '.join(absent)}")
    if verdict:
        said.append(f"version {champion} was trained, stopped or calibrated on the others; {A_PERSON_DECIDES}")
    return ComparisonSet(unseen, metrics, Rule(RULE, not verdict, f"{verdict}{'; '.join(said)}".replace("_", " ")))


def unseen_positions(images: pd.DataFrame, split: pd.DataFrame) -> Indices:
    """Positions of the images in groups of which no image is in the training or validation split of another version.

    A group is left out as a whole: who has seen a lesion in one picture knows it in another.

    Args:
        images: one row per image: pixels_sha256, group.
        split: the split of the other version: pixels_sha256, side.
    """
    seen = images["pixels_sha256"].isin(split.loc[split["side"].isin(SEEN_SPLITS), "pixels_sha256"])
    return np.flatnonzero(~images["group"].isin(images.loc[seen, "group"]))


def _groups(scored: Predictions) -> int:
    return int(scored.images["group"].nunique())


def _critical_groups(scored: Predictions) -> int:
    return int(scored.images.loc[scored.critical, "group"].nunique())
