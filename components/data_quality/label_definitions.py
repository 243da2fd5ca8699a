"""Label sets as data: labels/<name>.yaml defines the classes of a model and which diagnoses belong to each."""

import re
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from components.core.errors import LesionflowError, describe_invalid
from components.core.label_set import LabelSet
from components.core.paths import LABELS

AUTO = "auto"


def fold(diagnosis: str) -> str:
    """A diagnosis in small letters, its words joined by underscores, without a code in parentheses at its end: the name of its folder in
    data/."""
    without_code = re.sub(r"\([^()]*\)\s*$", "", diagnosis.strip()) or diagnosis
    return re.sub(r"[\W_]+", "_", re.sub("['\u2019]", "", without_code).casefold()).strip("_")


class ClassDefinition(BaseModel):
    """A class: its names for people, whether it is malignant, and the diagnoses that belong to it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    plain: str = Field(description="plain-language name")
    malignant: bool = False
    synonyms: tuple[str, ...] = ()
    includes: tuple[str, ...] = ()


class LabelDefinition(BaseModel):
    """A label set as its file defines it."""

    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))

    name: str
    description: str
    critical: str | None = None
    classes: dict[str, ClassDefinition]
    excluded: dict[str, str] = Field(default_factory=dict, description="diagnoses without a class, with the reason")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.classes) < 2:
            raise ValueError("classes: a label set needs two or more classes")
        for name in self.classes:
            if name != fold(name):
                raise ValueError(f"classes: {name!r} must be in small letters with underscores: {fold(name)!r}")
        if self.critical is not None and self.critical not in self.classes:
            raise ValueError(f"critical: {self.critical!r} is not one of the classes: {', '.join(self.classes)}")
        if self.critical is not None and not self.classes[self.critical].malignant:
            raise ValueError(f"critical: {self.critical!r} is not malignant. Name a malignant class, or null for none")
        owners: dict[str, str] = {}
        for name, entry in self.classes.items():
            for given in (name, *entry.synonyms, *entry.includes):
                if owners.setdefault(fold(given), name) != name:
                    raise ValueError(f"classes: {given!r} belongs to both {owners[fold(given)]} and {name}. Delete one")
        for given in self.excluded:
            if fold(given) in owners:
                raise ValueError(f"excluded: {given!r} also belongs to {owners[fold(given)]}")
        return self

    @cached_property
    def _class_of(self) -> dict[str, str | None]:
        named = {fold(given): name for name, entry in self.classes.items() for given in (name, *entry.synonyms, *entry.includes)}
        return {**named, **{fold(given): None for given in self.excluded}}

    @cached_property
    def _own_names(self) -> frozenset[str]:
        return frozenset(fold(given) for name, entry in self.classes.items() for given in (name, *entry.synonyms))

    def class_of(self, diagnosis: str) -> str | None:
        """Class that a diagnosis belongs to, or None if it has no place in this label set."""
        return self._class_of.get(fold(diagnosis))

    def class_of_levels(self, diagnoses: Collection[str]) -> str | None:
        """Class of the first of several names of a diagnosis, most specific first, that this label set knows; None if it knows none or
        excludes it."""
        return next((self._class_of[fold(name)] for name in diagnoses if fold(name) in self._class_of), None)

    def names(self, diagnosis: str) -> bool:
        """Whether a class is this diagnosis itself, not only a coarser one that includes it."""
        return fold(diagnosis) in self._own_names

    def label_set(self, outputs: Collection[str]) -> LabelSet:
        """The part of the label set that a dataset has, in the order of the file.

        Raises:
            LesionflowError: fewer than two classes are left.
        """
        kept = [name for name in self.classes if name in outputs]
        if len(kept) < 2:
            raise LesionflowError(
                f"a model needs images of two or more classes; of label set {self.name}, there are usable images of"
                f" {', '.join(kept) or 'none'}"
            )
        malignant = tuple(name for name in kept if self.classes[name].malignant)
        return LabelSet(name=self.name, outputs=tuple(kept), malignant=malignant, critical=self.critical if self.critical in kept else None)


class _UniqueKeys(yaml.SafeLoader):
    """PyYAML keeps the last of equal keys without a word; a class that is defined twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [self.construct_object(key, deep=True) for key, _ in node.value]
        repeated = next((number for number, name in enumerate(names) if name in names[:number]), None)
        if repeated is not None:
            raise yaml.constructor.ConstructorError(
                None, None, f"{names[repeated]!r} is defined twice. Delete one", node.value[repeated][0].start_mark
            )
        return super().construct_mapping(node, deep)


def read_definition(path: Path) -> LabelDefinition:
    """Read one label set.

    Raises:
        LesionflowError: the file is missing or not a valid label set; the message names the file and the key.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)
    except yaml.constructor.ConstructorError as fault:
        line = f", line {fault.problem_mark.line + 1}" if fault.problem_mark else ""
        raise LesionflowError(f"{path}{line}: {fault.problem}") from None
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as fault:
        raise LesionflowError(f"{path} is not a label set in YAML: {fault}") from None
    if not isinstance(content, dict):
        raise LesionflowError(f"{path} must be a mapping with the keys description, critical and classes")
    try:
        return LabelDefinition.model_validate({**content, "name": path.stem})
    except ValidationError as fault:
        raise LesionflowError("\n".join(f"{path}: {_describe(error)}" for error in fault.errors())) from None


def _describe(error: Any) -> str:
    key = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key"
    return describe_invalid(key, error) if key else str(error["msg"].removeprefix("Value error, "))


def read_definitions(folder: Path = LABELS) -> dict[str, LabelDefinition]:
    """Read all label sets of the project, by name.

    Raises:
        LesionflowError: there is none, or one is not valid.
    """
    found = {path.stem: read_definition(path) for path in sorted(folder.glob("*.yaml"))}
    if not found:
        raise LesionflowError(f"{folder}/ contains no label set. Restore it with `git checkout -- {folder}`.")
    return found


def fitting(counts: Mapping[tuple[str, ...], int], definitions: Mapping[str, LabelDefinition]) -> list[str]:
    """Names of the label sets in which all diagnoses have a place, finest first.

    The finest is the one that names most images' diagnoses itself, then the one with most outputs on this dataset, then with most classes.

    Args:
        counts: images by diagnosis; a diagnosis is its names, most specific first.
        definitions: the label sets.
    """

    def fineness(name: str) -> tuple[int, int, int]:
        entry = definitions[name]
        named = sum(count for levels, count in counts.items() if any(entry.names(level) for level in levels))
        return named, len({entry.class_of_levels(levels) for levels in counts}), len(entry.classes)

    complete = [name for name, entry in definitions.items() if all(entry.class_of_levels(levels) for levels in counts)]
    return sorted(complete, key=fineness, reverse=True)


def finest(counts: Mapping[tuple[str, ...], int], definitions: Mapping[str, LabelDefinition]) -> str | None:
    """The finest label set in which all diagnoses have a place or, if there is none, the one with a place for most images; None if no
    label set has a place for more than half of them. Arguments as in `fitting`."""
    if complete := fitting(counts, definitions):
        return complete[0]
    placed = {name: sum(count for levels, count in counts.items() if entry.class_of_levels(levels)) for name, entry in definitions.items()}
    best = max(placed, key=lambda name: (placed[name], len(definitions[name].classes)))
    return best if 2 * placed[best] > sum(counts.values()) else None
