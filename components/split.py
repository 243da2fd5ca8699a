"""Assign usable images to train, validation and test: stratified by class, with no patient, lesion or near-duplicate in two splits.

Reads build/catalog.parquet. Writes build/splits.parquet, reports/split/ (Data Docs) and reports/split.json, with the hash of the test
split.
"""

from fractions import Fraction
from itertools import islice

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from components.core import catalog
from components.core.errors import LesionflowError
from components.core.files import atomic_write, write_json
from components.core.label_set import LabelSet
from components.core.paths import REPORTS, SPLITS
from components.data_quality import expectations
from components.data_quality.strata import find_strata
from components.runtime.params import SPLIT_RESOLUTION, Settings
from components.runtime.params_file import load
from components.runtime.stage import run

REPORT = REPORTS / "split.json"
DOCS = REPORTS / "split"
COLUMNS = [
    *("path", "isic_id", "diagnosis", "patient_id", "lesion_id", "collection", "pixels_sha256", "group"),
    *("age_approx", "sex", "anatom_site_general", "fitzpatrick_skin_type", "width", "height"),
]
"""Columns of the catalog that build/splits.parquet keeps; the second line is what subgroups are formed from."""


def assign_splits(diagnoses: "pd.Series[str]", groups: NDArray[np.int64], test: float, validation: float, seed: int) -> NDArray[np.str_]:
    """Assign each image to a split: first test, then validation from the remaining images.

    Raises:
        LesionflowError: a class has fewer than three groups, so a split would not contain it.
    """
    per_class = pd.Series(groups).groupby(diagnoses.to_numpy()).nunique()
    scarce = per_class[per_class < len(catalog.SPLIT_NAMES)]
    if len(scarce):
        raise LesionflowError(
            f"too few lesions to split: {', '.join(f'{name} has {count}' for name, count in scarce.items())};"
            " each class needs at least three lesions that are not near-duplicates of each other"
        )
    labels = diagnoses.to_numpy(dtype=str)
    assigned = np.full(len(labels), "train", dtype="<U10")
    assigned[_take_folds(labels, groups, _fraction(test), seed)] = "test"
    rest = np.flatnonzero(assigned == "train")
    assigned[rest[_take_folds(labels[rest], groups[rest], _fraction(validation / (1 - test)), seed)]] = "validation"
    return assigned


def _fraction(share: float) -> Fraction:
    return Fraction(share).limit_denominator(SPLIT_RESOLUTION)


def _take_folds(labels: NDArray[np.str_], groups: NDArray[np.int64], share: Fraction, seed: int) -> NDArray[np.int64]:
    """Positions of the images in `share.numerator` of the `share.denominator` folds of scikit-learn's StratifiedGroupKFold.

    Raises:
        LesionflowError: every class has fewer images than there are folds.
    """
    largest = int(np.unique(labels, return_counts=True)[1].max())
    if largest < share.denominator:
        raise LesionflowError(f"too few images to split: the largest class has {largest}, but at least {share.denominator} are needed")
    folds = StratifiedGroupKFold(n_splits=share.denominator, shuffle=True, random_state=seed).split(labels, labels, groups)
    return np.concatenate([members for _, members in islice(folds, share.numerator)])


def require_no_leakage(splits: pd.DataFrame) -> None:
    """Raise if the split has a leak or lacks a class.

    Raises:
        LesionflowError: a group, a patient, a lesion or the same pixels are in two splits, or a split lacks a class.
    """
    for key in ("group", "patient_id", "lesion_id", "pixels_sha256"):
        spread = splits.groupby(key)["side"].nunique()
        if (spread > 1).any():
            raise LesionflowError(f"{key} {spread[spread > 1].index[0]} is in two splits")
    for name in catalog.SPLIT_NAMES:
        missing = set(splits["diagnosis"]) - set(splits.loc[splits["side"] == name, "diagnosis"])
        if missing:
            raise LesionflowError(f"the {name} split has no {', '.join(sorted(missing))}. Try another seed, or import more lesions.")


def require_measurable(labels: LabelSet) -> None:
    """Raise if specificity could not be measured, although the label set tells malignant classes.

    Raises:
        LesionflowError: every output is malignant.
    """
    if len(labels.malignant) == len(labels.outputs):
        raise LesionflowError(
            "every usable image is malignant: specificity cannot be measured. Import benign images with `lesionflow import`."
        )


def oversized_groups(splits: pd.DataFrame, test: float) -> list[str]:
    """A message for each group with more images than one of the folds from which the test split is taken: the fractions cannot be met."""
    fold = len(splits) / _fraction(test).denominator
    sizes = splits.groupby("group").size()
    named = splits.groupby("group")[["patient_id", "lesion_id"]].first()
    return [
        f"{count} images are one group ({_name(named.loc[group])}), but a fold has {fold:.0f}: the splits differ from the sizes asked for"
        for group, count in sizes[sizes > fold].items()
    ]


def _name(group: "pd.Series[str]") -> str:
    patient = group["patient_id"]
    return f"patient {patient}" if isinstance(patient, str) else f"lesion {group['lesion_id']}"


def split(settings: Settings) -> None:
    """Run the stage.

    Raises:
        LesionflowError: the images cannot be split, or a metric could not be measured afterwards.
    """
    images = catalog.load_usable_images()
    frame = images[COLUMNS].assign(group=pd.factorize(images["group"])[0])
    params, labels = settings.split, LabelSet.load()
    require_measurable(labels)
    folds = max(_fraction(params.test).denominator, _fraction(params.validation / (1 - params.test)).denominator)
    frame["side"] = assign_splits(find_strata(images, folds), frame["group"].to_numpy(), params.test, params.validation, settings.seed)
    require_no_leakage(frame)
    with atomic_write(DOCS) as draft:
        unmet = expectations.check_splits(frame, labels.outputs, draft)
    if unmet:
        raise LesionflowError("\n".join(unmet))
    with atomic_write(SPLITS) as draft:
        frame.to_parquet(draft, index=False)
    by_split = {name: frame[frame["side"] == name] for name in catalog.SPLIT_NAMES}
    write_json(
        REPORT,
        {
            "test_split_hash": catalog.split_hash(by_split["test"]),
            "groups": int(frame["group"].nunique()),
            "patients": {name: int(rows["patient_id"].nunique()) for name, rows in by_split.items()},
            "images": {name: len(rows) for name, rows in by_split.items()},
            "lesions": {name: int(rows["lesion_id"].nunique()) for name, rows in by_split.items()},
            "images_per_class": {
                name: dict.fromkeys(labels.outputs, 0) | rows["diagnosis"].value_counts(sort=False).to_dict()
                for name, rows in by_split.items()
            },
        },
    )
    for line in oversized_groups(frame, params.test):
        print(line)
    print(", ".join(f"{name} {len(rows)} images of {rows['group'].nunique()} groups" for name, rows in by_split.items()))


if __name__ == "__main__":
    run(lambda: split(load()), __doc__)
