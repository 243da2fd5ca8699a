"""reports/index.json: how the candidate tells pictures that it should not judge, and what its nearest training images are worth."""

from pydantic import Field

from components.core.document import Document
from components.core.reports.evaluation import Estimate, Figures
from components.core.reports.index_contents import Novelty


class FalseAlarms(Figures):
    """Test images, all of lesions, from which the model abstains for what they look like."""

    by_class: dict[str, Estimate] = Field(
        json_schema_extra={"key": "class"}, description="`either` among the images of each class that has test images"
    )
    either: Estimate = Field(description="share of the test images with one of the two reasons")
    not_dermoscopic: Estimate = Field(description="share taken for something else than a dermoscopic image")
    unlike_training: Estimate = Field(description="share taken for unlike anything in training")


class NonLesions(Figures):
    """Made pictures of one kind. Each count is of pictures with the reason; a picture may have several."""

    answered: int = Field(description="pictures with none of the three reasons: the model names a diagnosis")
    detected: Estimate = Field(description="share of the pictures that are not dermoscopic or unlike training")
    not_dermoscopic: int = Field(description="pictures taken for something else than a dermoscopic image")
    pictures: int = Field(description="pictures made")
    too_uncertain: int = Field(description="pictures whose largest probability is below the abstention threshold, with one view")
    unlike_training: int = Field(description="pictures taken for unlike anything in training")


class IndexReport(Document):
    """The index of training images, measured on test and on made pictures that show no lesion. Thresholds are from validation alone."""

    detected: Estimate = Field(description="share of all made pictures that are not dermoscopic or unlike training")
    false_alarms: FalseAlarms
    groups: int = Field(description="groups of test images (patients or lesions), by which intervals are resampled")
    images: int = Field(description="test images")
    neighbour_accuracy: Estimate = Field(
        description="share of the test images whose most frequent diagnosis among the similar cases is the true one"
    )
    non_lesions: dict[str, NonLesions] = Field(json_schema_extra={"key": "kind"}, description="by kind of made picture")
    novelty: Novelty = Field(description="as in `build/index/index.json`")
    taken_for_training: int = Field(description="test images taken for a training image")
    training_images: int = Field(description="images in the index")
    training_lesions: int = Field(description="lesions that they show")
