"""lesionflow.json: what an app must know to answer with a version's TFLite files as the version's predictor does."""

from collections.abc import Mapping, Sequence

from pydantic import Field

from components.core.document import Document, Part
from components.core.reports.candidate import Candidate
from components.serving.answers import Contract

CONTRACT = "lesionflow.json"
PREPARATION = (
    "Turn the picture upright (EXIF) and convert it to sRGB. Crop the largest centered square. If `resolution` is a number and smaller than"
    " the square, average the square down to that many pixels. Then resize it to `size` pixels, averaging over areas where it shrinks."
    " Pass RGB values from 0 to 255 as float32. Never stretch a picture that is not square."
)
LIMITS = (
    'A phone cannot tell "unlike anything in training" or "not a dermoscopic image": it answers about every picture. It abstains only'
    " if it is too uncertain.",
    "It shows neither similar cases of the training data nor activation maps.",
    "Thresholds and measured shares are those of model_float32.tflite. The other files give slightly different probabilities.",
    "The probabilities hold where the diagnoses are as frequent as in `prevalence`.",
    "For research, and to draw a clinician's attention to a lesion. Not a medical device, and not for diagnosis without a clinician.",
)


class Class(Part):
    """A class, in the order of the network's output."""

    id: str = Field(description="as in `labels.txt`")
    malignant: bool = Field(description="whether it counts towards the malignant probability")
    name: str = Field(description="as in `labels-en.txt`")


class Input(Part):
    """What the network takes."""

    preparation: str = Field(description="how a picture becomes the input, in words")
    resolution: int | None = Field(description="pixels to which the square is averaged down first; null: it is not")
    size: int = Field(description="width and height in pixels")


class Point(Part):
    """An operating point on the malignant probability, the sum over malignant classes."""

    sensitivity: float | None = Field(description="share of malignant test images at or above the threshold; null if not recorded")
    specificity: float | None = Field(description="share of benign test images below it; null if not recorded")
    threshold: float = Field(description="malignant probability from which a picture is flagged")


class VersionName(Part):
    """A registered version."""

    model: str = Field(description="name of the registered model")
    number: str = Field(description="number of the version")
    run: str = Field(description="ID of its MLflow run")


class PhoneContract(Document):
    """The contract of a phone's files with the app. The copy within a TFLite file has no `files`."""

    abstention_threshold: float = Field(description='largest probability below which the answer is "too uncertain"')
    classes: tuple[Class, ...] = Field(description="in the order of the output")
    critical: str | None = Field(description="class that `decision_offsets` raises, or null")
    decision_offsets: tuple[float, ...] = Field(description="added to the logarithms of the probabilities where a diagnosis is named")
    files: dict[str, str] = Field(default_factory=dict, json_schema_extra={"key": "file"}, description="sha256 of each file of the package")
    input: Input = Field(description="what the network takes")
    label_set: str = Field(description="name of the label set")
    limits: tuple[str, ...] = Field(description="what the answers are not, for people")
    networks: dict[str, str] = Field(
        json_schema_extra={"key": "file"}, description="sha256 of each TFLite file as it was registered, without metadata"
    )
    operating_points: dict[str, Point] = Field(json_schema_extra={"key": "point"}, description="thresholds on the malignant probability")
    prevalence: dict[str, float] = Field(
        json_schema_extra={"key": "class"}, description="share of each class behind the probabilities; empty if not recorded"
    )
    set_thresholds: tuple[float, ...] = Field(description="smallest probability of each class in the prediction set; empty: no sets")
    separates_malignant: bool = Field(description="whether some classes are malignant and others are not")
    version: VersionName = Field(description="the registered version")
    views: int = Field(description="the probabilities are the mean over this many symmetries of the square: 1, 2, 4 or 8")


def contract_of(candidate: Candidate, promised: Contract, names: Mapping[str, str], version: VersionName) -> PhoneContract:
    """The contract of a version, without `networks` and `files`.

    Args:
        candidate: its candidate.json.
        promised: what candidate.json promises.
        names: names of classes for people, by id; a class without one is named by its id.
        version: its name.
    """
    labels = candidate.label_set
    return PhoneContract(
        abstention_threshold=promised.abstention_threshold,
        classes=_classes(candidate.outputs, labels.malignant, names),
        critical=labels.critical,
        decision_offsets=promised.decision_offsets,
        input=Input(preparation=PREPARATION, resolution=candidate.resolution, size=candidate.image_size),
        label_set=labels.name,
        limits=LIMITS,
        networks={},
        operating_points=_points(promised) if labels.separates_malignant else {},
        prevalence=promised.class_shares,
        set_thresholds=promised.set_thresholds,
        separates_malignant=labels.separates_malignant,
        version=version,
        views=promised.views,
    )


def _classes(outputs: Sequence[str], malignant: Sequence[str], names: Mapping[str, str]) -> tuple[Class, ...]:
    return tuple(Class(id=name, malignant=name in malignant, name=names.get(name, name.replace("_", " "))) for name in outputs)


def _points(promised: Contract) -> dict[str, Point]:
    measured = promised.measured_points
    return {
        name: Point(
            threshold=threshold,
            sensitivity=measured[name].sensitivity if name in measured else None,
            specificity=measured[name].specificity if name in measured else None,
        )
        for name, threshold in promised.operating_points.items()
    }
