"""Counts the images behind a version, from the files of the dataset to the splits, for its model card."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from components.core.catalog import COLUMNS, SPLIT_NAMES
from components.core.files import read_json, require_file
from components.core.paths import CATALOG, DATA, REPORTS, SPLITS
from components.core.reports.cohort import Cohort, ShortSide, Source, SplitCounts, Values
from components.data_quality.placeholders import NO_VALUE
from components.evaluation.subgroups import DIMENSIONS, SOURCES, subgroup_values

ATTRIBUTES = tuple(name for name in DIMENSIONS if name not in ("collection", "resolution"))
"""What is counted of each split: age, sex, site and skin type."""
SMALL_CLASS = ("small_malignant_class", "small_benign_class")
"""Kinds of finding that exclude a class."""
LONGEST_ATTRIBUTION = 1000
"""Characters of data/attribution.txt that are kept."""


def read_cohort() -> Cohort:
    """Count the images of the present dataset.

    Raises:
        LesionflowError: the catalog or the split does not exist.
    """
    catalog = pd.read_parquet(require_file(CATALOG)).reindex(columns=list(COLUMNS))
    validation = REPORTS / "validation.json"
    return count_cohort(
        catalog,
        pd.read_parquet(require_file(SPLITS)),
        {
            "attribution": _read_attribution(DATA / "attribution.txt"),
            "missing_classes": read_json(validation).get("missing_classes") if validation.exists() else None,
            "sources": _read_sources(DATA / "dataset.yaml"),
        },
    )


def count_cohort(catalog: pd.DataFrame, splits: pd.DataFrame, others: Mapping[str, Any]) -> Cohort:
    """Count images.

    Args:
        catalog: one row per file, with catalog.COLUMNS.
        splits: one row per usable image, as build/splits.parquet.
        others: the fields of Cohort that are no counts.
    """
    usable = catalog[catalog["usable"].fillna(True).astype(bool)]
    excluded, readable = catalog.drop(usable.index), catalog[catalog["format"].notna()]
    kinds = excluded["reason"].fillna("").map(lambda reason: reason.partition(":")[0])
    confirmed = _without_placeholders(usable["diagnosis_confirm_type"])
    return Cohort(
        files=len(catalog),
        readable=len(readable),
        usable=len(usable),
        excluded=_counted(kinds),
        excluded_classes=_counted(excluded.loc[kinds.isin(SMALL_CLASS), "diagnosis"]),
        not_in_label_set=_counted(readable.loc[readable["diagnosis"].isna(), "source_diagnosis"]),
        collections=values_of(usable["collection"]),
        licenses=values_of(usable["license"]),
        formats=_counted(usable["format"]),
        short_side=_short_side(usable[["width", "height"]].min(axis=1).dropna()),
        patients_known=int(usable["patient_id"].notna().sum()),
        reference_standard={
            name: values_of(confirmed[usable["diagnosis"] == name]) for name in sorted(usable["diagnosis"].dropna().unique())
        },
        splits={name: _count_split(splits[splits["side"] == name]) for name in SPLIT_NAMES},
        **others,
    )


def values_of(column: "pd.Series[Any]") -> Values:
    """The counts of each value and of nulls."""
    return Values(known=_counted(column), unknown=int(column.isna().sum()))


def _counted(column: "pd.Series[Any]") -> dict[str, int]:
    """Counts by value, in alphabetical order, which is also that of age bands and skin types."""
    return dict(sorted(Counter(column.dropna().astype(str)).items()))


def _count_split(rows: pd.DataFrame) -> SplitCounts:
    needed = ["patient_id", "lesion_id", "age_approx", "width", "height", *SOURCES.values()]
    images = rows.reindex(columns=[*rows.columns, *(name for name in needed if name not in rows)])
    values = subgroup_values(images.astype({"age_approx": "float64", "width": "float64", "height": "float64"}))
    return SplitCounts(
        images=len(images),
        groups=int(images["group"].nunique()),
        lesions=int(images["lesion_id"].nunique()),
        patients=int(images["patient_id"].nunique()),
        images_per_class=_counted(images["diagnosis"]),
        attributes={name: values_of(values[name]) for name in ATTRIBUTES},
    )


def _short_side(sides: "pd.Series[float]") -> ShortSide | None:
    if sides.empty:
        return None
    return ShortSide(least=int(sides.min()), median=int(sides.median()), largest=int(sides.max()))


def _without_placeholders(texts: "pd.Series[str]") -> "pd.Series[str]":
    """The texts in small letters; null for placeholders."""
    folded = texts.astype("str").str.strip().str.casefold()
    return folded.where(~folded.fillna("").isin(NO_VALUE))


def _read_attribution(path: Path) -> str | None:
    text = path.read_text(encoding="utf-8", errors="replace").strip() if path.exists() else ""
    return (text if len(text) <= LONGEST_ATTRIBUTION else f"{text[:LONGEST_ATTRIBUTION]}…") or None


def _read_sources(path: Path) -> list[Source] | None:
    """The sources that dataset.yaml names; validate has checked that it is a mapping."""
    if not path.exists():
        return None
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    entries = content.get("sources", [content])
    return [Source(**{key: str(entry[key]) for key in Source.model_fields if entry.get(key) is not None}) for entry in entries]
