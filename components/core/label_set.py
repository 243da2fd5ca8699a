"""build/label_set.json: the outputs of a model and what they mean. Nothing after `validate` knows more about labels."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from components.core.document import JsonFile
from components.core.paths import LABEL_SET


class LabelSet(JsonFile):
    """The outputs of a model, in order, with the malignant ones and the critical one."""

    name: str = Field(description="file in `labels/`, without suffix")
    outputs: tuple[str, ...] = Field(description="classes that the dataset has, in the order of the model's probabilities")
    malignant: tuple[str, ...] = Field(description="outputs that are malignant; may be empty")
    critical: str | None = Field(description="output that is named more readily and whose sensitivity the gate guards, or null")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.outputs) < 2 or len(set(self.outputs)) < len(self.outputs):
            raise ValueError(f"a model needs two or more different outputs, found {', '.join(self.outputs) or 'none'}")
        if unknown := [name for name in self.malignant if name not in self.outputs]:
            raise ValueError(f"malignant: {', '.join(unknown)} is not an output")
        if self.critical is not None and self.critical not in self.malignant:
            raise ValueError(f"critical: {self.critical!r} is not a malignant output")
        return self

    @property
    def logits(self) -> int:
        """Number of logits of the network: one per output, or one for two outputs, whose sigmoid is the second's probability."""
        return 1 if len(self.outputs) == 2 else len(self.outputs)

    @property
    def identity(self) -> str:
        """Hex sha256 of the outputs, the malignant ones and the critical one: models with equal identity can be compared."""
        meaning = [list(self.outputs), sorted(self.malignant), self.critical]
        return hashlib.sha256(json.dumps(meaning).encode()).hexdigest()

    @property
    def separates_malignant(self) -> bool:
        """Whether some outputs are malignant and others are not, so that sensitivity and specificity for malignant are defined."""
        return 0 < len(self.malignant) < len(self.outputs)

    def encode(self, diagnoses: Iterable[str]) -> list[int]:
        """Position of each diagnosis among the outputs.

        Raises:
            ValueError: a diagnosis is not an output.
        """
        return [self.outputs.index(name) for name in diagnoses]

    def positions(self, names: Sequence[str]) -> list[int]:
        """Positions of these outputs, in the order of the outputs."""
        return [number for number, name in enumerate(self.outputs) if name in names]

    def metric_label(self, name: str) -> str:
        """Name of a metric for people: "<critical output> sensitivity" for `critical_sensitivity`."""
        return metric_label(name, self.critical)

    @classmethod
    def load(cls, path: Path = LABEL_SET) -> Self:
        """Read build/label_set.json.

        Raises:
            LesionflowError: it does not exist or is not valid.
        """
        return cls.read(path)


def metric_label(name: str, critical: str | None) -> str:
    """Name of a metric for people, in which the critical class, if it is known, has its own name."""
    return name.replace("critical_", f"{critical or 'critical'}_").replace("_", " ")
