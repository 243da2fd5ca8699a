"""build/index/: what a version keeps of its training images, so that it can name similar cases and tell what is unlike all of them."""

from pydantic import Field

from components.core.document import Document, JsonFile, Part


class ImageLimits(Part):
    """Limits of what `validate` measures, beyond which an image is taken for something else than a dermoscopic image."""

    max_dominant_color_fraction: float = Field(description="fraction of pixels of exactly one color, without dark ones")
    min_contrast: float = Field(description="standard deviation of gray levels")
    min_side: int = Field(description="pixels of the short side")


class Novelty(Part):
    """From when an image counts as unlike anything in training."""

    calibration_images: int = Field(description="images of the calibration half of validation that the threshold was chosen on")
    lesion: int = Field(description="number of the lesion, by distance, whose distance is compared")
    max_share: float = Field(description="share of images like those of validation that may exceed the threshold")
    threshold: float | None = Field(description="cosine distance; null if the calibration images are too few for such a share")


class IndexContents(Document):
    """build/index/index.json."""

    image_limits: ImageLimits | None = Field(description="null for a dataset of clinical photographs")
    novelty: Novelty
    same_picture_distance: float = Field(description="cosine distance up to which an image counts as a training image")
    similar_cases: int = Field(description="cases that are named as similar, at most one of each lesion")


class Origin(Part):
    """Where a picture comes from, as its source states it; each may be missing."""

    collection: str | None = None
    license: str | None = None
    attribution: str | None = None


class Cases(JsonFile):
    """build/index/cases.json: the training images by row of features.npy, in random order, without path, patient or lesion."""

    diagnosis: tuple[int, ...] = Field(description="position in `diagnoses`")
    diagnoses: tuple[str, ...] = Field(description="outputs of the model, in order")
    key: tuple[int, ...] = Field(description="random number of the lesion: images of one lesion have the same")
    origin: tuple[int, ...] = Field(description="position in `origins`")
    origins: tuple[Origin, ...]
    thumbnail: tuple[bool, ...] = Field(description="whether thumbnails/<row>.jpg exists")
