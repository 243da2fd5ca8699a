"""Chooses what the split is stratified by. All functions are pure."""

import pandas as pd

from components.data_quality.label_definitions import fold


def find_strata(images: pd.DataFrame, folds: int) -> "pd.Series[str]":
    """The stratum of each image: its class, or its source's own diagnosis within the class.

    A class is divided by its diagnoses if each of them has at least as many groups as there are folds, so that every split gets images of
    each: under the label set `binary`, no diagnosis can be in one split only.

    Args:
        images: usable images with columns diagnosis (the class), source_diagnosis and group.
        folds: number of folds that the splits are combined from.
    """
    sources = images["source_diagnosis"].map(fold, na_action="ignore").fillna("")
    groups = images["group"].groupby([images["diagnosis"], sources]).nunique()
    per_class = groups.groupby(level=0).agg(["size", "min"])
    divided = per_class.index[(per_class["size"] > 1) & (per_class["min"] >= folds)]
    return images["diagnosis"].where(~images["diagnosis"].isin(divided), images["diagnosis"] + ": " + sources)
