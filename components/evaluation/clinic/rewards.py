"""Decisions by expected reward under a table, utilities/<name>.yaml, of what a right or wrong diagnosis is worth."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from components.core.errors import LesionflowError, describe_invalid
from components.core.paths import UTILITIES
from components.evaluation.metrics import Floats, Ints


class RewardTable(BaseModel):
    """A table of rewards, and which outputs of label sets belong to each of its classes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    description: str
    source: str
    license: str
    classes: dict[str, tuple[str, ...]] = Field(description="outputs that belong to each class of the table")
    rewards: dict[str, dict[str, float]] = Field(description="by true class, then by named class")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        keys = {"rewards": set(self.rewards), **{f"rewards.{truth}": set(row) for truth, row in self.rewards.items()}}
        if wrong := [key for key, found in keys.items() if found != set(self.classes)]:
            raise ValueError(f"{wrong[0]}: the keys must be those of classes: {', '.join(self.classes)}")
        outputs = [output for members in self.classes.values() for output in members]
        if repeated := sorted({output for output in outputs if outputs.count(output) > 1}):
            raise ValueError(f"classes: {', '.join(repeated)} belongs to more than one class")
        return self

    def class_of(self, output: str) -> str | None:
        """Class of the table that an output belongs to, or None."""
        return next((name for name, members in self.classes.items() if output in members), None)

    def without_place(self, outputs: tuple[str, ...]) -> list[str]:
        """The outputs that belong to no class of the table."""
        return [output for output in outputs if self.class_of(output) is None]

    def matrix(self, names: tuple[str, ...]) -> Floats:
        """Rewards of these classes: rows are the truth, columns the named class."""
        return np.array([[self.rewards[truth][named] for named in names] for truth in names])


def read_table(name: str, folder: Path = UTILITIES) -> RewardTable:
    """Read a table by its name.

    Raises:
        LesionflowError: the file is missing or not a valid table; the message names the file and the key.
    """
    path = folder / f"{name}.yaml"
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as fault:
        raise LesionflowError(f"{path}, which evaluate.utilities names, is not a table of rewards in YAML: {fault}") from None
    if not isinstance(content, dict):
        raise LesionflowError(f"{path} must be a mapping with the keys description, source, license, classes and rewards")
    try:
        return RewardTable.model_validate({**content, "name": name})
    except ValidationError as fault:
        raise LesionflowError("\n".join(f"{path}: {_describe(error)}" for error in fault.errors())) from None


def folded(probabilities: Floats, members: Mapping[str, list[int]]) -> Floats:
    """Probabilities of coarser classes, (n, len(members)): the sums over the outputs at these positions."""
    return np.column_stack([probabilities[:, positions].sum(axis=1) for positions in members.values()])


def expected_rewards(probabilities: Floats, rewards: Floats) -> Floats:
    """Expected reward of naming each class, (n, classes); the named class with the largest is the decision (Barata et al. 2023)."""
    return np.asarray(probabilities @ rewards)


def received_rewards(truth: Ints, named: Ints, rewards: Floats) -> Floats:
    """Reward of each decision, (n,)."""
    return np.asarray(rewards[truth, named])


def _describe(error: Any) -> str:
    key = ".".join(map(str, error["loc"]))
    return describe_invalid(key, error) if key else str(error["msg"].removeprefix("Value error, "))
