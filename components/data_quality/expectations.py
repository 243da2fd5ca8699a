"""The Great Expectations suites over the catalog and the split, and their Data Docs."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from components.core.catalog import COLUMNS, SPLIT_NAMES
from components.data_quality.data_docs import Counts, Wanted, counts_table, run_suite
from components.runtime.validation_params import Validate

HEX = "^[0-9a-f]{64}$"


@dataclass(frozen=True)
class AuditedCatalog:
    """A catalog, and what was found in it.

    `images`: one row per file, with catalog.COLUMNS. `classes`: one row per class: class, malignant, images, lesions. `findings`: number of
    files with each kind of finding, by class. `kept`: paths that a reviewer decided to keep regardless of findings.
    """

    images: pd.DataFrame
    classes: pd.DataFrame
    findings: Counts
    kept: Collection[str] = ()


def check_catalog(catalog: AuditedCatalog, limits: Validate, docs: Path) -> list[str]:
    """Validate usable rows and class counts against their suites and write Data Docs to `docs`.

    Args:
        catalog: the catalog; its findings are shown on the entry page.
        limits: the thresholds of params.yaml.
        docs: folder to create; its index.html is the entry page.

    Returns:
        One line per expectation that is not met.
    """
    images = catalog.images[catalog.images["usable"]].drop(columns="reason")
    images = images.assign(
        classes_of_pixels=_distinct(images, "pixels_sha256", "diagnosis"), classes_of_lesion=_distinct(images, "lesion_id", "diagnosis")
    )
    tables = {
        "Usable images": catalog.classes.drop(columns="malignant"),
        "Findings by kind and class": counts_table(catalog.findings, "finding"),
    }
    note = "Excluded files with reasons: build/quarantine.csv. All findings: build/findings.csv."
    suites = {
        "usable_images": (images, _images(limits, images[images["path"].isin(catalog.kept)], list(catalog.classes["class"]))),
        "classes": (_classes_to_check(catalog.classes, limits), _classes(limits)),
    }
    return run_suite(suites, docs, tables, note)


def check_splits(splits: pd.DataFrame, outputs: Sequence[str], docs: Path) -> list[str]:
    """Validate the split against its suite and write Data Docs to `docs`, like `check_catalog`.

    Args:
        splits: one row per usable image: path, isic_id, diagnosis, patient_id, lesion_id, pixels_sha256, group, side.
        outputs: classes; every split must have an image of each.
        docs: folder to create.
    """
    named = splits.assign(patient_id=splits["patient_id"].fillna(splits["path"]))
    spread = {f"splits_of_{key}": _distinct(named, key, "side") for key in ("group", "patient_id", "lesion_id", "pixels_sha256")}
    tables = {"Images per class and split": _per_split(splits["diagnosis"], splits["side"])}
    suites = {
        "splits": (splits.assign(**spread), _splits(list(spread), outputs)),
        "classes_per_split": (_per_split(splits["diagnosis"], splits["side"]), _required_splits()),
    }
    return run_suite(suites, docs, tables, "No group, patient, lesion or image is in two splits.")


def _per_split(names: "pd.Series[str]", split: "pd.Series[str]") -> pd.DataFrame:
    counts = names.groupby([names.rename("diagnosis"), split]).size().unstack(fill_value=0)
    return counts.reindex(columns=list(SPLIT_NAMES), fill_value=0).reset_index()


def _distinct(frame: pd.DataFrame, key: str, column: str) -> "pd.Series[int]":
    """For each row, the number of distinct values of `column` among the rows with the same `key`."""
    return frame.groupby(key, dropna=False)[column].transform("nunique").astype(int)


def _images(limits: Validate, kept: pd.DataFrame, classes: list[str]) -> Wanted:
    """Expectations on usable images; size and license requirements are relaxed to what the images kept by a reviewer have."""
    least = 1 if limits.policy.too_small.action == "warn" else min([limits.min_side, *kept["width"], *kept["height"]])
    licensed = limits.policy.missing_license.action != "warn" and bool(kept["license"].notna().all())
    return [
        ("ExpectTableRowCountToBeBetween", {"min_value": 1}),
        (
            "ExpectTableColumnsToMatchSet",
            {"column_set": [*(name for name in COLUMNS if name != "reason"), "classes_of_pixels", "classes_of_lesion"]},
        ),
        *(("ExpectColumnValuesToBeUnique", {"column": name}) for name in ("path", "sha256", "pixels_sha256")),
        *(("ExpectColumnValuesToNotBeNull", {"column": name}) for name in ("isic_id", "lesion_id", "diagnosis", "group")),
        ("ExpectColumnValuesToMatchRegex", {"column": "isic_id", "regex": r"^\S(?:.*\S)?$"}),
        ("ExpectColumnValuesToBeInSet", {"column": "diagnosis", "value_set": classes}),
        ("ExpectColumnValuesToBeInSet", {"column": "format", "value_set": ["JPEG", "PNG"]}),
        *(("ExpectColumnValuesToMatchRegex", {"column": name, "regex": HEX}) for name in ("sha256", "pixels_sha256")),
        *(("ExpectColumnValuesToBeBetween", {"column": name, "min_value": least}) for name in ("width", "height")),
        *(("ExpectColumnValuesToBeInSet", {"column": f"classes_of_{key}", "value_set": [1]}) for key in ("pixels", "lesion")),
        *([("ExpectColumnValuesToNotBeNull", {"column": "license"})] if licensed else []),
    ]


def _classes_to_check(classes: pd.DataFrame, limits: Validate) -> pd.DataFrame:
    """Classes that must be large enough: not those that the policy only warns about or excludes completely."""
    policy = limits.policy
    rules = [policy.small_malignant_class if malignant else policy.small_benign_class for malignant in classes["malignant"]]
    none_allowed = [rule.max_files == 0 or (rule.max_files is None and rule.action == "fail") for rule in rules]
    found = zip(rules, none_allowed, classes["images"], strict=True)
    required = [rule.action != "warn" and (strict or images > 0) for rule, strict, images in found]
    return classes[required].drop(columns="malignant")


def _classes(limits: Validate) -> Wanted:
    return [
        ("ExpectColumnValuesToBeUnique", {"column": "class"}),
        ("ExpectColumnValuesToBeBetween", {"column": "images", "min_value": limits.min_images_per_class}),
        ("ExpectColumnValuesToBeBetween", {"column": "lesions", "min_value": 1}),
    ]


def _splits(spread: list[str], outputs: Sequence[str]) -> Wanted:
    return [
        *(("ExpectColumnValuesToBeUnique", {"column": name}) for name in ("path", "pixels_sha256")),
        ("ExpectColumnValuesToBeInSet", {"column": "side", "value_set": list(SPLIT_NAMES)}),
        ("ExpectColumnValuesToBeInSet", {"column": "diagnosis", "value_set": list(outputs)}),
        *(("ExpectColumnValuesToBeInSet", {"column": name, "value_set": [1]}) for name in spread),
    ]


def _required_splits() -> Wanted:
    return [("ExpectColumnValuesToBeBetween", {"column": name, "min_value": 1}) for name in SPLIT_NAMES]
