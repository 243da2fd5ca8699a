"""Deal usable images into train, validation and test: stratified by class, no lesion or near-duplicate on two sides.

Reads build/catalog.parquet. Writes build/splits.parquet, reports/split/ (Data Docs) and reports/split.json, with the hash that
identifies the test split.
"""

from fractions import Fraction
from itertools import islice

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from components.core import catalog
from components.core.classes import CLASSES, MALIGNANT
from components.core.errors import LesionflowError
from components.core.files import replacing, write_json
from components.core.paths import REPORTS, SPLITS
from components.data_quality import expectations
from components.runtime.params import SPLIT_RESOLUTION, Settings
from components.runtime.params_file import load
from components.runtime.stage import run

REPORT = REPORTS / "split.json"
DOCS = REPORTS / "split"
OTHER_MALIGNANT = "malignant but melanoma"
"""A stratum that a side may lack: where it has a melanoma, it has something malignant."""


def strata(diagnoses: "pd.Series[str]", task: str) -> "pd.Series[str]":
    """What the sides are to have alike: diagnoses; for the binary task melanoma, OTHER_MALIGNANT and benign.

    Melanoma is apart, since its sensitivity is a figure of both tasks.
    """
    if task == "multiclass":
        return diagnoses
    other = diagnoses.where(~diagnoses.isin(MALIGNANT - {"melanoma"}), OTHER_MALIGNANT)
    return other.where(diagnoses.isin(MALIGNANT), "benign")


def needed(strata: "pd.Series[str]") -> "pd.Series[str]":
    """The strata of which every side must have images; missing for the one that a side with melanomas may lack."""
    return strata.where(strata != OTHER_MALIGNANT)


def deal(strata: "pd.Series[str]", groups: NDArray[np.int64], test: float, validation: float, seed: int) -> NDArray[np.str_]:
    """Side of each image: first the test side is dealt, then validation from what is left.

    Raises:
        LesionflowError: a stratum has fewer than three groups, so that a side would lack it.
    """
    per_class = pd.Series(groups).groupby(needed(strata).to_numpy()).nunique()
    scarce = per_class[per_class < len(catalog.SIDES)]
    if len(scarce):
        raise LesionflowError(
            f"too few lesions to split: {', '.join(f'{name} has {count}' for name, count in scarce.items())};"
            " each class needs at least three that are no near-duplicates of each other"
        )
    labels = strata.to_numpy(dtype=str)
    side = np.full(len(labels), "train", dtype="<U10")
    side[_take(labels, groups, _fraction(test), seed)] = "test"
    rest = np.flatnonzero(side == "train")
    side[rest[_take(labels[rest], groups[rest], _fraction(validation / (1 - test)), seed)]] = "validation"
    return side


def _fraction(share: float) -> Fraction:
    return Fraction(share).limit_denominator(SPLIT_RESOLUTION)


def _take(labels: NDArray[np.str_], groups: NDArray[np.int64], share: Fraction, seed: int) -> NDArray[np.int64]:
    """Images of `share.numerator` of the `share.denominator` folds that scikit-learn's StratifiedGroupKFold makes.

    Raises:
        LesionflowError: every class has fewer images than there are folds.
    """
    largest = int(np.unique(labels, return_counts=True)[1].max())
    if largest < share.denominator:
        raise LesionflowError(f"too few images to split: the largest class has {largest}, at least {share.denominator} are needed")
    folds = StratifiedGroupKFold(n_splits=share.denominator, shuffle=True, random_state=seed).split(labels, labels, groups)
    return np.concatenate([members for _, members in islice(folds, share.numerator)])


def check(splits: pd.DataFrame, task: str) -> None:
    """Stop where the split would measure wrongly.

    Raises:
        LesionflowError: a group, a lesion or the same pixels stand on two sides, or a side lacks a class that the task needs there.
    """
    for key in ("group", "lesion_id", "pixels_sha256"):
        sides = splits.groupby(key)["side"].nunique()
        if (sides > 1).any():
            raise LesionflowError(f"{key} {sides[sides > 1].index[0]} stands on two sides of the split")
    wanted = needed(strata(splits["diagnosis"], task))
    for name in catalog.SIDES:
        lacking = set(wanted.dropna()) - set(wanted[splits["side"] == name])
        if lacking:
            raise LesionflowError(f"the {name} side has no {', '.join(sorted(lacking))}: try another seed, or bring more lesions")


def check_measurable(diagnoses: set[str]) -> None:
    """Stop where a headline figure would be of no image.

    Raises:
        LesionflowError: there is no melanoma, or nothing benign.
    """
    if "melanoma" not in diagnoses:
        raise LesionflowError("there is no usable melanoma: no model could be said to find any; `lesionflow import` images of some")
    if diagnoses <= MALIGNANT:
        raise LesionflowError(
            "every usable image is malignant: no model could be said to leave anything alone; `lesionflow import` benign ones"
        )


def split(settings: Settings) -> None:
    """Run the stage.

    Raises:
        LesionflowError: the images cannot be dealt, or measured once they are.
    """
    frame = catalog.usable()[["path", "isic_id", "diagnosis", "lesion_id", "collection", "pixels_sha256", "group"]]
    frame = frame.assign(group=pd.factorize(frame["group"])[0])
    check_measurable(set(frame["diagnosis"]))
    knobs = settings.split
    frame["side"] = deal(strata(frame["diagnosis"], settings.task), frame["group"].to_numpy(), knobs.test, knobs.validation, settings.seed)
    check(frame, settings.task)
    with replacing(DOCS) as draft:
        unmet = expectations.check_splits(frame, needed(strata(frame["diagnosis"], settings.task)), draft)
    if unmet:
        raise LesionflowError("\n".join(unmet))
    with replacing(SPLITS) as draft:
        frame.to_parquet(draft, index=False)
    sides = {name: frame[frame["side"] == name] for name in catalog.SIDES}
    write_json(
        REPORT,
        {
            "test_split_hash": catalog.split_hash(sides["test"]),
            "groups": int(frame["group"].nunique()),
            "images": {name: len(rows) for name, rows in sides.items()},
            "lesions": {name: int(rows["lesion_id"].nunique()) for name, rows in sides.items()},
            "images_per_class": {
                name: {diagnosis: int((rows["diagnosis"] == diagnosis).sum()) for diagnosis in CLASSES} for name, rows in sides.items()
            },
        },
    )
    print(", ".join(f"{name} {len(rows)} images of {rows['group'].nunique()} groups" for name, rows in sides.items()))


if __name__ == "__main__":
    run(lambda: split(load()), __doc__)
