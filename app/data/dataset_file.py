"""Reads and writes dataset.yaml, which describes where the images of a dataset come from.

A dataset of one source has the keys form, source, namespace, image_type, label_set and, for a described table, table. One of several
sources has image_type and label_set for the whole, and the list `sources` with these keys for each.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from app.data.plan import ImportPlan
from components.core.errors import LesionflowError

DATASET_FILE = "dataset.yaml"
SOURCES = "sources"
SOURCE = "source"
"""Key of a source's name, and column of metadata.csv in a dataset of several sources."""
NOT_RECORDED = "not recorded"
"""Source of a dataset that has no dataset.yaml."""


@dataclass(frozen=True)
class Description:
    """The content of dataset.yaml."""

    image_type: str | None
    label_set: str | None
    sources: tuple[Mapping[str, Any], ...]

    def document(self) -> dict[str, Any]:
        """The keys and values of the file."""
        if len(self.sources) == 1:
            return dict(self.sources[0])
        return {"image_type": self.image_type, "label_set": self.label_set, SOURCES: [dict(source) for source in self.sources]}

    def joined(self, other: "Description", label_set: str | None) -> "Description":
        """The description of this dataset with the images of another one, which are of the same type."""
        return replace(other, label_set=label_set, sources=(*self.sources, *other.sources))

    @property
    def only_source(self) -> str:
        """Name of the one source, or empty text if there are several."""
        return str(self.sources[0].get(SOURCE) or NOT_RECORDED) if len(self.sources) == 1 else ""


def describe(plan: ImportPlan, source: str | None = None) -> Description:
    """The description of an import of one source; `source` is its name, None that of the folder or archive."""
    entry: dict[str, object] = {
        "form": plan.recognised.form.name,
        SOURCE: source or plan.source,
        "namespace": plan.namespace,
        "image_type": plan.image_type,
        "label_set": plan.label_set,
    }
    if plan.recognised.table is not None:
        entry["table"] = plan.recognised.table.described()
    return Description(plan.image_type, plan.label_set, (entry,))


def read_description_of(root: Path) -> Description | None:
    """Read dataset.yaml in a dataset's folder; None if there is no such file.

    Raises:
        LesionflowError: the file is not such a mapping in YAML.
    """
    path = root / DATASET_FILE
    try:
        return parse_description(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as fault:
        raise LesionflowError(f"{path} is not in UTF-8: {fault}") from None


def parse_description(text: str, name: str) -> Description:
    """Parse the text of dataset.yaml; `name` is its path, for messages.

    Raises:
        LesionflowError: the text is not such a mapping in YAML.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as fault:
        raise LesionflowError(f"{name} is not valid YAML: {' '.join(str(fault).split())}") from None
    if not isinstance(content, dict):
        raise LesionflowError(f"{name} must be a mapping with the keys form, source, image_type and label_set")
    sources = content.get(SOURCES, [content])
    if not isinstance(sources, list) or not sources or not all(isinstance(source, dict) for source in sources):
        raise LesionflowError(f"{name}: {SOURCES} must be a list of mappings with the keys form, source, image_type and label_set")
    return Description(content.get("image_type"), content.get("label_set"), tuple(sources))
