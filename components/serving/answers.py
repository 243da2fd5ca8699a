"""What a version says about an image beyond probabilities: malignancy, operating points, prediction set, or that it abstains."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field

from components.core import decision
from components.core.document import Part
from components.core.files import read_json

TOO_UNCERTAIN = "too uncertain"
"""Reason for which a version abstains: its largest probability is below its threshold."""


class Contract(Part):
    """What candidate.json of a version promises. A version registered by an older release has only its outputs."""

    outputs: tuple[str, ...] = ()
    malignant: tuple[str, ...] = ()
    set_thresholds: tuple[float, ...] = ()
    abstention_threshold: float = 0.0
    operating_points: dict[str, float] = Field(default_factory=dict)

    @classmethod
    def of_folder(cls, folder: Path) -> "Contract":
        """Read the candidate.json in the folder of a logged model; empty if there is none."""
        found = sorted(folder.rglob("candidate.json"))
        if not found:
            return cls()
        candidate = read_json(found[0])
        return cls.model_validate({**candidate, "malignant": candidate.get("label_set", {}).get("malignant", ())})


@dataclass(frozen=True)
class Answer:
    """A version's answer about one image.

    Attributes:
        diagnosis: the named output.
        probabilities: calibrated probability of each output, in order.
        malignant: sum of the probabilities of the malignant outputs; None if the version does not tell them.
        operating_points: whether `malignant` reaches the threshold of each operating point, by name.
        prediction_set: outputs in the prediction set, likeliest first; None if the version has no sets.
        abstained: why the diagnosis is withheld; None if it is not.
    """

    diagnosis: str
    probabilities: dict[str, float]
    malignant: float | None
    operating_points: dict[str, bool]
    prediction_set: tuple[str, ...] | None
    abstained: str | None


def answer(contract: Contract, diagnosis: str, probabilities: dict[str, float]) -> Answer:
    """The answer about an image, from what the version's own code returned for it."""
    values = np.array([list(probabilities.values())])
    malignant = sum(probabilities[name] for name in contract.malignant) if 0 < len(contract.malignant) < len(probabilities) else None
    points = {} if malignant is None else {name: malignant >= threshold for name, threshold in contract.operating_points.items()}
    abstained = TOO_UNCERTAIN if decision.too_uncertain(values, contract.abstention_threshold)[0] else None
    return Answer(diagnosis, probabilities, malignant, points, _prediction_set(contract.set_thresholds, probabilities), abstained)


def _prediction_set(thresholds: Sequence[float], probabilities: dict[str, float]) -> tuple[str, ...] | None:
    if not thresholds:
        return None
    inside = decision.prediction_sets(np.array([list(probabilities.values())]), thresholds)[0]
    members = [name for name, is_in in zip(probabilities, inside, strict=True) if is_in]
    return tuple(sorted(members, key=lambda name: -probabilities[name]))
