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

from components import catalog, expectations
from components.classes import CLASSES, MALIGNANT
from components.errors import LesionflowError
from components.files import replacing, write_json
from components.paths import REPORTS, SPLITS
from components.settings import SPLIT_RESOLUTION, Settings, load
from components.stage import run

REPORT = REPORTS / "split.json"
DOCS = REPORTS / "split"


def deal(diagnoses: list[str], groups: NDArray[np.int64], test: float, validation: float, seed: int) -> NDArray[np.str_]:
    """Side of each image: first the test side is dealt, then validation from what is left.

    Raises:
        LesionflowError: a class has fewer than three groups, so that a side would lack it.
    """
    per_class = pd.Series(groups).groupby(pd.Series(diagnoses)).nunique()
    scarce = per_class[per_class < len(catalog.SIDES)]
    if len(scarce):
        raise LesionflowError(
            f"too few lesions to split: {', '.join(f'{name} has {count}' for name, count in scarce.items())};"
            " each class needs at least three that are no near-duplicates of each other"
        )
    labels = np.array(diagnoses)
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


def check(splits: pd.DataFrame) -> None:
    """Stop where the split would measure wrongly.

    Raises:
        LesionflowError: a group, a lesion or the same pixels stand on two sides, or a side lacks a class.
    """
    for key in ("group", "lesion_id", "pixels_sha256"):
        sides = splits.groupby(key)["side"].nunique()
        if (sides > 1).any():
            raise LesionflowError(f"{key} {sides[sides > 1].index[0]} stands on two sides of the split")
    for name in catalog.SIDES:
        lacking = set(splits["diagnosis"]) - set(splits.loc[splits["side"] == name, "diagnosis"])
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
    frame["side"] = deal(list(frame["diagnosis"]), frame["group"].to_numpy(), knobs.test, knobs.validation, settings.seed)
    check(frame)
    with replacing(DOCS) as draft:
        unmet = expectations.check_splits(frame, draft)
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
