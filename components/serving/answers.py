"""What a version says about an image beyond probabilities: malignancy, operating points, prediction set, or that it abstains."""

from collections.abc import Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from components.core import decision
from components.core.document import Part
from components.core.files import read_json

NOT_DERMOSCOPIC = "not a dermoscopic image"
UNLIKE_TRAINING = "unlike anything in training"
TOO_UNCERTAIN = "too uncertain"
REASONS = (NOT_DERMOSCOPIC, UNLIKE_TRAINING, TOO_UNCERTAIN)
"""Reasons for which a version abstains, in the order in which they are given. The last: the largest probability is below its threshold."""
TRIAGE = "triage"
"""Operating point that raises the alarm."""

Range = tuple[float, float]
"""The smallest and the largest of several probabilities."""


class MeasuredPoint(Part):
    """What an operating point does on the test images of its version: shares from 0 to 1."""

    sensitivity: float
    specificity: float


class Contract(Part):
    """What candidate.json of a version promises. A version registered by an older release has only its outputs.

    Attributes:
        outputs: names of the outputs, in order.
        malignant: those that are malignant.
        decision_offsets: by output, added to the logarithms of the probabilities where a diagnosis is named.
        set_thresholds: by output, smallest probability in a prediction set.
        abstention_threshold: largest probability below which the version abstains.
        operating_points: malignant probability from which an image is flagged, by name.
        measured_points: what each does on test.
        views: number of symmetries of the square that probabilities are averaged over.
        class_shares: share of each output behind the probabilities.
        clinic_shares: share of each output in the clinic, if params.yaml gave them.
    """

    outputs: tuple[str, ...] = ()
    malignant: tuple[str, ...] = ()
    decision_offsets: tuple[float, ...] = ()
    set_thresholds: tuple[float, ...] = ()
    abstention_threshold: float = 0.0
    operating_points: dict[str, float] = Field(default_factory=dict)
    measured_points: dict[str, MeasuredPoint] = Field(default_factory=dict)
    views: int = 1
    class_shares: dict[str, float] = Field(default_factory=dict)
    clinic_shares: dict[str, float] = Field(default_factory=dict)

    @classmethod
    def of_candidate(cls, candidate: dict[str, object]) -> "Contract":
        """Take what is promised from the content of candidate.json."""
        labels = candidate.get("label_set")
        return cls.model_validate({**candidate, "malignant": labels.get("malignant", ()) if isinstance(labels, dict) else ()})

    @classmethod
    def of_folder(cls, folder: Path) -> "Contract":
        """Read the candidate.json in the folder of a logged model; empty if there is none."""
        found = sorted(folder.rglob("candidate.json"))
        return cls.of_candidate(read_json(found[0])) if found else cls()


@dataclass(frozen=True)
class Spread:
    """How far probabilities of one lesion lie apart: the range for each output, and of the malignant probability where it is given."""

    outputs: dict[str, Range]
    malignant: Range | None


@dataclass(frozen=True)
class SimilarCase:
    """A case of the training images.

    Attributes:
        diagnosis, collection, license, attribution: of its picture, as its source states them.
        distance: cosine distance of its features from those of the image, 0 to 2.
        thumbnail: number of its thumbnail in the version's `index/thumbnails/`, or None.
    """

    diagnosis: str
    collection: str
    distance: float
    license: str
    attribution: str
    thumbnail: int | None = None


@dataclass(frozen=True)
class Answer:
    """A version's answer about one image, or about one lesion of which there are several. What a version does not have is None or empty.

    Attributes:
        diagnosis: the named output.
        probabilities: calibrated probability of each output, in order.
        malignant: sum of the probabilities of the malignant outputs; None if the version does not tell them.
        operating_points: whether `malignant` reaches the threshold of each operating point, by name.
        prediction_set: outputs in the prediction set, likeliest first; None if the version has no sets.
        abstained: why the diagnosis is withheld, of REASONS in their order; empty if it is not.
        view_spread: between the mirrored and turned views of an image; of several images, the widest range of each.
        picture_spread: between several images of the lesion; None with one image.
        pictures: number of images.
        prevalence: share of each output behind the probabilities.
        shifted: the probabilities at the clinic's shares (`serve.prevalence`).
        similar: nearest cases in training, the nearest first.
        neighbour_counts: how many of the nearest cases have each diagnosis.
        in_training: whether an image was among the training images.
    """

    diagnosis: str
    probabilities: dict[str, float]
    malignant: float | None
    operating_points: dict[str, bool]
    prediction_set: tuple[str, ...] | None
    abstained: tuple[str, ...] = ()
    view_spread: Spread | None = None
    picture_spread: Spread | None = None
    pictures: int = 1
    prevalence: dict[str, float] = field(default_factory=dict)
    shifted: dict[str, float] = field(default_factory=dict)
    similar: tuple[SimilarCase, ...] = ()
    neighbour_counts: dict[str, int] = field(default_factory=dict)
    in_training: bool = False

    @property
    def alarm(self) -> bool:
        """Whether `malignant` reaches the operating point `triage`. An abstention never hides it."""
        return self.operating_points.get(TRIAGE, False)


def answer(contract: Contract, diagnosis: str, probabilities: dict[str, float]) -> Answer:
    """The answer about an image, from what the version's own code returned for it."""
    values = np.array([list(probabilities.values())])
    malignant = sum(probabilities[name] for name in contract.malignant) if tells_malignant(contract, probabilities) else None
    return Answer(
        diagnosis=diagnosis,
        probabilities=probabilities,
        malignant=malignant,
        operating_points={}
        if malignant is None
        else {name: malignant >= threshold for name, threshold in contract.operating_points.items()},
        prediction_set=_prediction_set(contract.set_thresholds, probabilities),
        abstained=(TOO_UNCERTAIN,) if decision.too_uncertain(values, contract.abstention_threshold)[0] else (),
        prevalence=contract.class_shares,
        shifted=_shifted(contract, probabilities),
    )


def tells_malignant(contract: Contract, outputs: Sized) -> bool:
    """Whether some of the outputs are malignant and others are not."""
    return 0 < len(contract.malignant) < len(outputs)


def spread(contract: Contract, probabilities: NDArray[np.floating]) -> Spread:
    """The spread between probabilities of one lesion, float (n, outputs)."""
    ranges = zip(probabilities.min(axis=0).tolist(), probabilities.max(axis=0).tolist(), strict=True)
    outputs = dict(zip(contract.outputs, ranges, strict=True))
    if not tells_malignant(contract, outputs):
        return Spread(outputs, None)
    malignant = probabilities[:, [contract.outputs.index(name) for name in contract.malignant]].sum(axis=1)
    return Spread(outputs, (float(malignant.min()), float(malignant.max())))


def _prediction_set(thresholds: Sequence[float], probabilities: dict[str, float]) -> tuple[str, ...] | None:
    if not thresholds:
        return None
    inside = decision.prediction_sets(np.array([list(probabilities.values())]), thresholds)[0]
    members = [name for name, is_in in zip(probabilities, inside, strict=True) if is_in]
    return tuple(sorted(members, key=lambda name: -probabilities[name]))


def _shifted(contract: Contract, probabilities: dict[str, float]) -> dict[str, float]:
    """The probabilities at the clinic's shares; empty if it gave none."""
    if not contract.clinic_shares:
        return {}
    ratios = [contract.clinic_shares[name] / contract.class_shares[name] for name in probabilities]
    shifted = decision.prior_shifted(np.array([list(probabilities.values())]), ratios)[0]
    return dict(zip(probabilities, shifted.tolist(), strict=True))
