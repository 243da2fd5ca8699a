"""Assign usable images to train, validation and test: stratified by class, with no patient, lesion or near-duplicate in two splits.

Reads build/catalog.parquet and splits/assignments.csv, which names the split of each image so far: a group stays where it is, and only
new groups are assigned. Writes splits/assignments.csv, build/splits.parquet, reports/split/ (Data Docs) and reports/split.json, with the
hash of the test split.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.core import catalog
from components.core.errors import LesionflowError
from components.core.files import atomic_write, require_file, write_json
from components.core.label_set import LabelSet
from components.core.paths import CATALOG, REPORTS, SPLITS
from components.data_quality import expectations
from components.data_quality.strata import find_strata
from components.runtime.params import Settings
from components.runtime.params_file import load
from components.runtime.stage import run
from components.splitting.assignments import KeptGroups, find_kept_groups, load_assignments, write_assignments
from components.splitting.folds import as_fraction, assign_splits, require_three_groups
from components.splitting.new_groups import assign_new_groups

REPORT = REPORTS / "split.json"
DOCS = REPORTS / "split"
COLUMNS = [
    *("path", "isic_id", "diagnosis", "patient_id", "lesion_id", "collection", "pixels_sha256", "group"),
    *("age_approx", "sex", "anatom_site_general", "fitzpatrick_skin_type", "width", "height"),
]
"""Columns of the catalog that build/splits.parquet keeps; the second line is what subgroups are formed from."""


def assign(images: pd.DataFrame, kept: KeptGroups, settings: Settings) -> NDArray[np.str_]:
    """Split of each image, shape (images,): that of its group if it is kept; the other groups are assigned.

    Args:
        images: usable images with columns group, diagnosis and source_diagnosis.
        kept: groups whose split is known.
        settings: the seed and the shares of the splits.

    Raises:
        LesionflowError: a class has fewer than three groups.
    """
    params, groups = settings.split, images["group"]
    folds = max(as_fraction(params.test).denominator, as_fraction(params.validation / (1 - params.test)).denominator)
    strata = find_strata(images, folds)
    if groups.isin(kept.splits.keys()).any():
        require_three_groups(strata, groups.to_numpy())
        shares = {"train": 1 - params.test - params.validation, "validation": params.validation, "test": params.test}
        splits = kept.splits | assign_new_groups(images.assign(diagnosis=strata), kept.splits, shares, settings.seed)
        return groups.map(splits).to_numpy(dtype=str)
    return assign_splits(strata, pd.factorize(groups)[0], params.test, params.validation, settings.seed)


def count_groups(images: pd.DataFrame, kept: KeptGroups) -> dict[str, int]:
    """Number of groups that stay in their split, that are assigned now, and that were in several splits and are in train now."""
    groups = set(images["group"])
    joined = len(groups & kept.joined)
    stay = len(groups & kept.splits.keys()) - joined
    return {"kept_groups": stay, "dealt_groups": len(groups) - stay - joined, "joined_groups": joined}


def describe(images: pd.DataFrame, kept: KeptGroups, redeal: bool) -> list[str]:
    """Messages about the groups that stay in their split and those that do not; `redeal` is the param."""
    if redeal:
        return ["split again (split.redeal: true); set it to false, so that these images stay in their splits"]
    count = count_groups(images, kept)
    lines = [f"{count['kept_groups']} groups stay in their split, {count['dealt_groups']} are assigned now"]
    if count["joined_groups"]:
        moved = images["group"].isin(kept.joined).sum()
        lines.append(f"groups that join images of several splits and are in train now: {count['joined_groups']} ({moved} images)")
    if not count["dealt_groups"]:
        lines.append("no group is new, so seed, split.test and split.validation have no effect; split.redeal: true splits all images again")
    return lines


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
            raise LesionflowError(
                f"the {name} split has no {', '.join(sorted(missing))}."
                " Import more lesions, or split all images again with split.redeal: true and another seed."
            )


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
    fold = len(splits) / as_fraction(test).denominator
    sizes = splits.groupby("group").size()
    named = splits.groupby("group")[["patient_id", "lesion_id"]].first()
    return [
        f"{count} images are one group ({_name(named.loc[group])}), but a fold has {fold:.0f}: the splits differ from the sizes asked for"
        for group, count in sizes[sizes > fold].items()
    ]


def _name(group: "pd.Series[str]") -> str:
    patient = group["patient_id"]
    return f"patient {patient}" if isinstance(patient, str) else f"lesion {group['lesion_id']}"


def write_report(splits: pd.DataFrame, groups: dict[str, int], outputs: Sequence[str]) -> None:
    """Write reports/split.json; `groups` are the counts of `count_groups`."""
    by_split = {name: splits[splits["side"] == name] for name in catalog.SPLIT_NAMES}
    document = {
        "test_split_hash": catalog.split_hash(by_split["test"]),
        "groups": int(splits["group"].nunique()),
        **groups,
        "patients": {name: int(rows["patient_id"].nunique()) for name, rows in by_split.items()},
        "images": {name: len(rows) for name, rows in by_split.items()},
        "lesions": {name: int(rows["lesion_id"].nunique()) for name, rows in by_split.items()},
        "images_per_class": {
            name: dict.fromkeys(outputs, 0) | rows["diagnosis"].value_counts(sort=False).to_dict() for name, rows in by_split.items()
        },
    }
    write_json(REPORT, document)


def split(settings: Settings) -> None:
    """Run the stage.

    Raises:
        LesionflowError: splits/assignments.csv is not valid, the images cannot be split, or a metric could not be measured afterwards.
    """
    images, labels, redeal = catalog.load_usable_images(), LabelSet.load(), settings.split.redeal
    require_measurable(labels)
    known = {} if redeal else load_assignments()
    kept = find_kept_groups(pd.read_parquet(require_file(CATALOG), columns=["group", "pixels_sha256"]), known)
    splits = images[COLUMNS].assign(group=pd.factorize(images["group"])[0], side=assign(images, kept, settings))
    require_no_leakage(splits)
    with atomic_write(DOCS) as draft:
        unmet = expectations.check_splits(splits, labels.outputs, draft)
    if unmet:
        raise LesionflowError("\n".join(unmet))
    with atomic_write(SPLITS) as draft:
        splits.to_parquet(draft, index=False)
    write_report(splits, count_groups(images, kept), labels.outputs)
    write_assignments(known | dict(zip(splits["pixels_sha256"], splits["side"], strict=True)))
    for line in [*describe(images, kept, redeal), *oversized_groups(splits, settings.split.test)]:
        print(line)
    groups = {name: splits.loc[splits["side"] == name, "group"] for name in catalog.SPLIT_NAMES}
    print(", ".join(f"{name} {len(members)} images of {members.nunique()} groups" for name, members in groups.items()))


if __name__ == "__main__":
    run(lambda: split(load()), __doc__)
