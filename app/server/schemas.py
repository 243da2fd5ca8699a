"""Shapes of the API's answers, for its description. A row is that of `lesionflow predict --format json` (app/models/prediction_rows.py)."""

from pydantic import BaseModel, Field

Range = tuple[float, float]


class Error(BaseModel):
    """A request that was not answered."""

    error: str = Field(description="why, in one sentence")
    request_id: str = Field(description="as in the header X-Request-Id and in the service's log")


class Spread(BaseModel):
    """Smallest and largest of several probabilities."""

    malignant: Range | None = Field(description="of the malignant probability")
    probabilities: dict[str, Range] = Field(description="of each output")


class Case(BaseModel):
    """A training case that is near to the image."""

    diagnosis: str
    collection: str
    distance: float = Field(description="cosine distance of its features, 0 to 2")
    license: str = Field(description="of its picture")
    attribution: str = Field(description="of its picture")


class NumberedCase(Case):
    """A similar case in a row."""

    thumbnail: int | None = Field(description="number of its picture under /v1/similar/, or null")


class PicturedCase(Case):
    """A similar case with the address of its picture."""

    thumbnail: str | None = Field(description="path of its picture, or null")


class Row(BaseModel):
    """The answer about an image or a lesion. What is not known is null."""

    image: str = Field(description="number of the image in the request, from 1; of a lesion, those of all images that could be read")
    model: str
    version: str = Field(description="that computed the answer")
    error: str | None = Field(description="why the image cannot be read")
    alarm: bool | None = Field(
        description="whether the malignant probability reaches the operating point triage; an abstention never hides it"
    )
    abstained: list[str] | None = Field(description="why the diagnosis is withheld; empty if it is not")
    diagnosis: str | None = Field(description="the named output; null if the version abstains")
    malignant_probability: float | None
    operating_points: dict[str, bool] | None = Field(description="whether the malignant probability reaches each")
    prediction_set: list[str] | None = Field(description="outputs that are not ruled out, the likeliest first")
    probabilities: dict[str, float] | None
    shifted_probabilities: dict[str, float] | None = Field(description="at the shares of diagnoses in the clinic, if they are configured")
    prevalence: dict[str, float] | None = Field(description="share of each diagnosis behind the probabilities")
    view_spread: Spread | None = Field(description="between mirrored and turned views of an image")
    picture_spread: Spread | None = Field(description="between several images of a lesion")
    pictures: int | None = Field(description="number of images")
    neighbour_counts: dict[str, int] | None = Field(description="how many of the nearest training cases have each diagnosis")
    similar_cases: list[NumberedCase] | None
    in_training: bool | None = Field(description="whether an image was among the training images")


class Versioned(BaseModel):
    """An answer of a version."""

    model: str
    version: str = Field(description="that computed the answer")


class Explanation(Versioned):
    """Where the score of an output comes from: no evidence for a diagnosis."""

    output: str
    meaning: str
    grid: list[list[float]] = Field(
        description="what each place of the centered square adds to the logit, from the top left, times the number of places"
    )
    overlay: str = Field(description="the grid as a PNG in a data: URL: the more a place adds, the less transparent it is")


class Similar(Versioned):
    """What training says about an image."""

    abstained: list[str] = Field(description="why the version withholds a diagnosis; similar cases are then no better founded")
    in_training: bool
    neighbour_counts: dict[str, int]
    similar_cases: list[PicturedCase]


class OperatingPoint(BaseModel):
    """A malignant probability from which an image is flagged, with what it does on the version's test images."""

    threshold: float
    sensitivity: float | None
    specificity: float | None


class Model(Versioned):
    """The version that answers now."""

    outputs: list[str] = Field(description="the label set")
    malignant: list[str] = Field(description="those of them that are malignant")
    operating_points: dict[str, OperatingPoint]
    abstention_threshold: float = Field(description="largest probability below which the version abstains")
    views: int = Field(description="symmetries of the square that probabilities are averaged over")
    prevalence: dict[str, float] = Field(description="share of each output behind the probabilities")
    registered: str | None = Field(description="day of its registration")
    data_md5: str | None = Field(description="of the dataset that it was trained on")
    test_images: int | None = Field(description="number of images that it was measured on")
    warnings: list[str] = Field(description="what people must know of it")
    card: str | None = Field(description="path of its model card")
