"""Figures on subgroups of the test images: by age, sex, site, skin type, collection and resolution. All functions are pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from components.core.reports.evaluation import Estimate, SubgroupResult, Subgroups
from components.evaluation import bootstrap
from components.evaluation.predictions import Indices, Predictions, defined

AGE_BANDS = {"0-29": 0, "30-49": 30, "50-69": 50, "70+": 70}
"""First age in years of each band."""
BELOW_MEDIAN, FROM_MEDIAN = "below median", "median or above"
"""Resolutions: the short side of the original image against the median of the test images."""
SOURCES = {"sex": "sex", "site": "anatom_site_general", "skin_type": "fitzpatrick_skin_type", "collection": "collection"}
"""Column of build/splits.parquet whose values are the subgroups of a dimension."""
DIMENSIONS = ("age", *SOURCES, "resolution")
"""What subgroups are formed from."""
FIGURES = ("balanced_accuracy", "calibration_error", "critical_sensitivity", "malignant_sensitivity", "malignant_specificity")
TRIAGE_FIGURES = ("triage_sensitivity", "triage_specificity")
"""Figures at the operating point `triage` (components/evaluation/clinic/operating_points.py)."""


@dataclass(frozen=True)
class Method:
    """How subgroups are measured.

    Attributes:
        min_groups: groups below which a subgroup gets no figures.
        resamples: bootstrap samples of groups.
        bins: bins of the calibration error.
        seed: of the bootstrap.
        triage: malignant probability from which an image is flagged; None: there are no figures at this operating point.
    """

    min_groups: int
    resamples: int
    bins: int
    seed: int
    triage: float | None = None


@dataclass(frozen=True)
class NamedSubgroup:
    """A subgroup by its dimension and value, with its balanced accuracy."""

    dimension: str
    value: str
    balanced_accuracy: Estimate

    @property
    def name(self) -> str:
        """Dimension and value, for people."""
        return subgroup_name(self.dimension, self.value)


def subgroup_name(dimension: str, value: str) -> str:
    """Name of a subgroup for people."""
    return f"{dimension.replace('_', ' ')} {value}"


def subgroup_values(images: pd.DataFrame) -> pd.DataFrame:
    """The subgroup of each image in each of DIMENSIONS, as text or null.

    Args:
        images: rows of build/splits.parquet.
    """
    bands = pd.cut(images["age_approx"], [*AGE_BANDS.values(), np.inf], right=False, labels=list(AGE_BANDS))
    short_side = images[["width", "height"]].min(axis=1)
    resolutions = np.where(short_side < short_side.median(), BELOW_MEDIAN, FROM_MEDIAN)
    named = {dimension: images[column].to_numpy(dtype=object) for dimension, column in SOURCES.items()}
    values = {"age": bands.to_numpy(dtype=object), **named, "resolution": resolutions.astype(object)}
    return pd.DataFrame({dimension: values[dimension] for dimension in DIMENSIONS}, index=images.index)


def measure_subgroups(scored: Predictions, values: pd.DataFrame, method: Method) -> dict[str, Subgroups]:
    """The figures of every subgroup; dimensions with fewer than two known values are left out.

    Args:
        scored: calibrated predictions on test.
        values: as `subgroup_values`, one row per image of `scored`, in its order.
        method: how they are measured.

    Returns:
        By dimension, then by value: ages in their order, others in alphabetical order.
    """
    known = {dimension: sorted(values[dimension].dropna().unique()) for dimension in values}
    return {
        dimension: {name: _measure(scored, np.flatnonzero(values[dimension] == name), method) for name in names}
        for dimension, names in known.items()
        if len(names) > 1
    }


def _measure(scored: Predictions, at: Indices, method: Method) -> SubgroupResult:
    part = scored.where(at)
    groups = part.images["group"].to_numpy()
    size = {"images": len(at), "groups": len(np.unique(groups))}
    if size["groups"] < method.min_groups:
        return SubgroupResult.model_validate(size)
    counted = {"critical_sensitivity": part.critical, "malignant_sensitivity": part.malignant, "malignant_specificity": ~part.malignant}
    figures = [name for name in defined(FIGURES, part.labels) if name not in counted or counted[name].any()]
    samples = bootstrap.cluster_bootstrap_indices(groups, method.resamples, method.seed)
    counts = {"classes": len(np.unique(part.truth))}
    if part.labels.critical:
        counts["critical_images"] = int(part.critical.sum())
    if part.labels.separates_malignant:
        counts["malignant_images"] = int(part.malignant.sum())
    triage = _at_triage(part, bootstrap.Resampling(groups, samples), method.triage)
    return SubgroupResult.model_validate({**size, **counts, **part.estimates(figures, samples, method.bins), **triage})


def _at_triage(part: Predictions, resampling: bootstrap.Resampling, threshold: float | None) -> dict[str, Estimate]:
    """Sensitivity and specificity at the triage threshold, without the one that the subgroup has no images for."""
    if threshold is None:
        return {}
    flagged = part.malignant_probability >= threshold
    pairs = zip(TRIAGE_FIGURES, ((part.malignant, flagged), (~part.malignant, ~flagged)), strict=True)
    return {name: resampling.share(counted, right) for name, (counted, right) in pairs if counted.any()}


def named_subgroups(measured: Mapping[str, Subgroups]) -> Iterator[tuple[str, str, SubgroupResult]]:
    """Dimension, value and figures of each subgroup, in the order of DIMENSIONS."""
    for dimension in DIMENSIONS:
        for value, result in measured.get(dimension, {}).items():
            yield dimension, value, result


def worst_subgroup(measured: Mapping[str, Subgroups]) -> NamedSubgroup | None:
    """The subgroup with the lowest balanced accuracy; None if no subgroup has enough groups for figures."""
    found = [
        NamedSubgroup(dimension, value, result.balanced_accuracy)
        for dimension, value, result in named_subgroups(measured)
        if result.balanced_accuracy is not None
    ]
    return min(found, key=lambda subgroup: subgroup.balanced_accuracy.value, default=None)


def dimensions_left_out(measured: Mapping[str, Subgroups]) -> list[str]:
    """The dimensions of which the test images have fewer than two known values, named for people."""
    return [dimension.replace("_", " ") for dimension in DIMENSIONS if dimension not in measured]
