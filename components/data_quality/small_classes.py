"""Counts the usable images of each class, and excludes classes that have too few."""

import pandas as pd

from components.data_quality import policy
from components.data_quality.findings import Finding
from components.data_quality.label_definitions import LabelDefinition
from components.runtime.validation_params import Policy


def count_classes(frame: pd.DataFrame, definition: LabelDefinition) -> pd.DataFrame:
    """Count usable images and lesions of each class that the dataset has, in the label set's order, also if none is usable; columns class,
    malignant, images, lesions."""
    there, usable = set(frame["diagnosis"].dropna()), frame[frame["usable"]]
    images, lesions = usable["diagnosis"].value_counts(), usable.groupby("diagnosis")["lesion_id"].nunique()
    rows = [
        (name, entry.malignant, int(images.get(name, 0)), int(lesions.get(name, 0)))
        for name, entry in definition.classes.items()
        if name in there
    ]
    return pd.DataFrame(rows, columns=["class", "malignant", "images", "lesions"])


def find_small_classes(classes: pd.DataFrame, least: int) -> list[Finding]:
    """Find classes that the dataset has, but with fewer usable images than `least`."""
    small_classes = []
    for row in classes[classes["images"] < least].itertuples():
        kind = "small_malignant_class" if row.malignant else "small_benign_class"
        small_classes.append(Finding(kind, (row[1],), f"{row.images} usable images, validate.min_images_per_class asks for {least}"))
    return small_classes


def exclude_small_classes(frame: pd.DataFrame, small_classes: list[Finding], limits: Policy) -> pd.DataFrame:
    """Exclude classes that are too small from the catalog, if the policy excludes them and its limit is not exceeded."""
    frame = frame.copy()
    for finding in small_classes:
        of_kind = [one for one in small_classes if one.kind == finding.kind]
        if policy.policy_for(limits, finding.kind).action in policy.LEFT_OUT and not policy.policy_violations(of_kind, limits):
            rows = frame["usable"] & (frame["diagnosis"] == finding.subjects[0])
            frame.loc[rows, "reason"] = f"{finding.kind}: {finding.message}"
    return frame.assign(usable=frame["reason"] == "")
