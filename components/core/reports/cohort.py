"""cohort.json: counts of the images behind a version, from the files of the dataset to the splits. It names no image, lesion or patient."""

from collections.abc import Mapping

from pydantic import Field

from components.core.catalog import SPLIT_NAMES
from components.core.document import Document, Part


class Values(Part):
    """How many images have each value, and of how many it is not known."""

    known: dict[str, int] = Field(description="images by value")
    unknown: int = Field(description="images whose value the dataset does not tell")

    @property
    def images(self) -> int:
        """All of the images."""
        return sum(self.known.values()) + self.unknown


class SplitCounts(Part):
    """The images of one split."""

    attributes: dict[str, Values] = Field(description="by age band, sex, site and skin type")
    groups: int = Field(description="groups that are never divided: of a patient or, where patients are not known, of a lesion")
    images: int
    images_per_class: dict[str, int]
    lesions: int
    patients: int = Field(description="0 if the dataset does not name them")


class ShortSide(Part):
    """The short side of the usable images, in pixels."""

    least: int
    median: int
    largest: int


class Source(Part):
    """One source of the dataset, as data/dataset.yaml names it."""

    form: str | None = None
    image_type: str | None = None
    source: str | None = None


class Cohort(Document):
    """The counts. Images are those that later stages use, unless a description says otherwise."""

    attribution: str | None = Field(default=None, description="beginning of data/attribution.txt")
    collections: Values
    excluded: dict[str, int] = Field(description="excluded files, by the kind of finding that excluded them")
    excluded_classes: dict[str, int] = Field(description="files of classes that were excluded as too small, by class")
    files: int = Field(description="files of data/, without metadata files")
    formats: dict[str, int]
    licenses: Values
    missing_classes: list[str] | None = Field(default=None, description="classes of the label set without a file")
    not_in_label_set: dict[str, int] = Field(description="readable files of each diagnosis that has no class in the label set")
    patients_known: int = Field(description="images whose patient is known")
    readable: int = Field(description="files that could be decoded")
    reference_standard: dict[str, Values] = Field(description="how the diagnosis was confirmed, by class")
    short_side: ShortSide | None = Field(default=None, description="missing where the catalog has no sizes")
    sources: list[Source] | None = Field(default=None, description="missing without data/dataset.yaml")
    splits: dict[str, SplitCounts]
    usable: int

    def attribute_in(self, name: str) -> Mapping[str, Values]:
        """An attribute's values by split, in the order of SPLIT_NAMES."""
        return {split: self.splits[split].attributes[name] for split in SPLIT_NAMES}
