"""The nine diagnoses, in output order, and how folder names map to them."""

import re
from collections.abc import Sequence

CLASSES: tuple[str, ...] = (
    "actinic_keratosis",
    "basal_cell_carcinoma",
    "dermatofibroma",
    "melanoma",
    "nevus",
    "pigmented_benign_keratosis",
    "seborrheic_keratosis",
    "squamous_cell_carcinoma",
    "vascular_lesion",
)

MALIGNANT: frozenset[str] = frozenset({"actinic_keratosis", "basal_cell_carcinoma", "melanoma", "squamous_cell_carcinoma"})

CRITICAL_CLASS = "melanoma"
"""The diagnosis whose sensitivity is reported, raised at the operating point and guarded by the gate."""

BINARY: tuple[str, ...] = ("benign", "malignant")


def metric_label(name: str) -> str:
    """Name of a metric for people, in which the critical class has its own name: "melanoma sensitivity" for `critical_sensitivity`."""
    return name.replace("critical_", f"{CRITICAL_CLASS}_").replace("_", " ")


def class_of_folder(name: str) -> str | None:
    """Class that a folder name denotes, or None.

    Case, spaces, hyphens and the misspelling "acitinic" of the public nine-class download do not matter.
    """
    folded = re.sub(r"[\s_-]+", "_", name.strip().lower()).replace("acitinic", "actinic")
    return folded if folded in CLASSES else None


def output_names(task: str) -> tuple[str, ...]:
    """Names of a model's output probabilities: the nine diagnoses, or benign and malignant."""
    return CLASSES if task == "multiclass" else BINARY


def encode_targets(diagnoses: Sequence[str], task: str) -> list[int]:
    """Integer target of each diagnosis: 0 to 8, or 0 (benign) and 1 (malignant)."""
    if task == "multiclass":
        return [CLASSES.index(name) for name in diagnoses]
    return [int(name in MALIGNANT) for name in diagnoses]
