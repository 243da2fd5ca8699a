"""Reads what older releases wrote: files and tags that name a task in place of a label set, and metrics under their former names.

The nine diagnoses and their order were fixed then; task `binary` predicted the malignant ones together.
"""

from typing import Any

from pydantic import model_validator

from components.core.document import Part
from components.core.label_set import LabelSet

FORMER_METRIC_NAMES = {"melanoma_sensitivity": "critical_sensitivity", "melanoma_lift": "critical_lift"}
"""Today's names of metrics that were renamed: reports of schema version 1 and tags of registered versions have the old ones."""
MULTICLASS = LabelSet(
    name="isic9",
    outputs=(
        "actinic_keratosis",
        "basal_cell_carcinoma",
        "dermatofibroma",
        "melanoma",
        "nevus",
        "pigmented_benign_keratosis",
        "seborrheic_keratosis",
        "squamous_cell_carcinoma",
        "vascular_lesion",
    ),
    malignant=("actinic_keratosis", "basal_cell_carcinoma", "melanoma", "squamous_cell_carcinoma"),
    critical="melanoma",
)
BINARY = LabelSet(name="binary", outputs=("benign", "malignant"), malignant=("malignant",), critical="malignant")
TASKS = {"multiclass": MULTICLASS, "binary": BINARY}


def with_label_set(content: Any) -> Any:
    """The content of a report with the label set in place of the task, or of the classes that an older evaluation names."""
    if not isinstance(content, dict) or "label_set" in content:
        return content
    task = content.get("task") or ("binary" if set(content.get("per_class", ())) == set(BINARY.outputs) else "multiclass")
    return {**content, "label_set": TASKS[task].model_dump()} if task in TASKS else content


class OfLabelSet(Part):
    """A file with a label set. An older one, which names a task or classes in its place, is read too."""

    @model_validator(mode="before")
    @classmethod
    def _read_task(cls, content: Any) -> Any:
        return with_label_set(content)
