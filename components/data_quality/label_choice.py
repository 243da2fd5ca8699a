"""Chooses the label set of a dataset: the one that params.yaml names or, for `auto`, the one that the import found to fit."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from components.core.errors import LesionflowError
from components.core.paths import LABELS
from components.data_quality.dataset import diagnosis_levels, read_label_set_name
from components.data_quality.label_definitions import AUTO, LabelDefinition, finest, fitting, read_definitions

LISTED = 12
"""Diagnoses listed in a message."""


def choose_definition(
    labels: str, root: Path, paths: Iterable[str], metadata: pd.DataFrame | None, folder: Path = LABELS
) -> LabelDefinition:
    """The label set of the dataset in `root`.

    Args:
        labels: the param `labels`: a name, or `auto` for the label set that dataset.yaml names or, without one, the finest that fits.
        root: data/.
        paths: its files.
        metadata: its metadata.csv indexed by filename, or None.
        folder: labels/.

    Raises:
        LesionflowError: there is no such label set, or it has no class for most of the images.
    """
    definitions = read_definitions(folder)
    counts = Counter(levels for levels in diagnosis_levels(paths, metadata) if levels)
    name = (read_label_set_name(root) or finest(counts, definitions)) if labels == AUTO else labels
    if name is None:
        raise LesionflowError(f"no label set in {folder}/ fits the dataset: {_listed(counts)}. {_way_out(folder)}")
    if name not in definitions:
        raise LesionflowError(f"there is no label set {name!r} in {folder}/; found {', '.join(definitions)}")
    without = Counter({levels: count for levels, count in counts.items() if definitions[name].class_of_levels(levels) is None})
    if 2 * without.total() > counts.total():
        fit = ", ".join(fitting(counts, definitions)) or "none"
        raise LesionflowError(
            f"label set {name} has no class for {without.total()} of {counts.total()} images: {_listed(without)}."
            f" Label sets that fit all: {fit}. Name one as `labels` in params.yaml. {_way_out(folder)}"
        )
    return definitions[name]


def _way_out(folder: Path) -> str:
    return f"A label set of your own is a file {folder}/NAME.yaml: see docs/how-to/use-your-own-labels.md"


def _listed(counts: Mapping[tuple[str, ...], int]) -> str:
    by_name = Counter[str]()
    for levels, count in counts.items():
        by_name[levels[0]] += count
    shown = [f"{count} of {name}" for name, count in by_name.most_common(LISTED)]
    return ", ".join([*shown, *(["..."] if len(by_name) > LISTED else [])])
