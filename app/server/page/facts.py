"""What the files of a registered version say about the version itself, for the page."""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import Field

from components.core.document import JsonFile, Part
from components.core.errors import LesionflowError
from components.core.reports.clinic import CalibrationBin, Clinic
from components.core.reports.index_contents import IndexContents
from components.registry.card.model import Card
from components.serving.loading import ARTIFACTS

CANDIDATE, CLINIC, COHORT = "candidate/candidate.json", "evidence/clinic.json", "evidence/cohort.json"
MEASURED, INDEX, CARD = "evidence/measured.json", "index/index.json", "card/card.json"
"""Artifacts of a version that the page reads."""
MALIGNANT = "malignant"
"""The probability in clinic.json whose calibration curve the page quotes."""
REGISTERED = re.compile(r"\d{4}-\d{2}-\d{2}")
SKIN_TYPE, TEST = "skin_type", "test"
Read = TypeVar("Read", bound=JsonFile)


class SkinTypes(Part):
    """Test images by skin type, and how many have none on record."""

    known: dict[str, int] = Field(default_factory=dict)
    unknown: int = 0


class _Split(Part):
    attributes: dict[str, SkinTypes] = Field(default_factory=dict)


class _Cohort(JsonFile):
    """The part of cohort.json that the page shows, read without pandas, which `Cohort` imports."""

    splits: dict[str, _Split] = Field(default_factory=dict)


class _Candidate(JsonFile):
    image_size: int
    resolution: int | None = None


class _Measured(JsonFile):
    data_md5: str = ""


@dataclass(frozen=True)
class Facts:
    """What is known of a version. What an older version does not tell is None or empty.

    Attributes:
        image_size, resolution: of the model's input, as `images.fit` takes them.
        registered: day, in ISO form.
        data_md5: of the dataset that it was trained on.
        test_images: number of images that it was measured on.
        curve: bins of the malignant probability on test, the lowest first.
        skin_types: of the test images.
        clinical: whether it was made for clinical photographs instead of dermoscopic images.
        card: its model card.
    """

    image_size: int
    resolution: int | None = None
    registered: str = ""
    data_md5: str = ""
    test_images: int | None = None
    curve: tuple[CalibrationBin, ...] = ()
    skin_types: SkinTypes | None = None
    clinical: bool = False
    card: Card | None = field(default=None, repr=False)


@lru_cache(maxsize=4)
def read_facts(folder: Path) -> Facts:
    """Read the facts from the folder of a version's logged model.

    Raises:
        LesionflowError: candidate.json is missing or not valid. Other files may be: what they tell is then not known.
    """
    artifacts = folder / ARTIFACTS
    candidate = _Candidate.read(artifacts / CANDIDATE)
    clinic, cohort, index = (
        _known(Clinic, artifacts / CLINIC),
        _known(_Cohort, artifacts / COHORT),
        _known(IndexContents, artifacts / INDEX),
    )
    measured = _known(_Measured, artifacts / MEASURED)
    calibration = clinic.calibration.get(MALIGNANT) if clinic else None
    split = cohort.splits.get(TEST) if cohort else None
    return Facts(
        image_size=candidate.image_size,
        resolution=candidate.resolution,
        registered=_registered(folder / "MLmodel"),
        data_md5=measured.data_md5 if measured else "",
        test_images=clinic.images if clinic else None,
        curve=tuple(sorted(calibration.curve, key=lambda found: found.probability)) if calibration else (),
        skin_types=split.attributes.get(SKIN_TYPE) if split else None,
        clinical=index is not None and index.image_limits is None,
        card=_known(Card, artifacts / CARD),
    )


def _known(kind: type[Read], path: Path) -> Read | None:
    try:
        return kind.read(path)
    except LesionflowError:
        return None


def _registered(path: Path) -> str:
    """The day on which MLflow logged the model; empty if the file does not tell it."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        found = REGISTERED.match(str(content["utc_time_created"]))
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return ""
    return found[0] if found else ""
