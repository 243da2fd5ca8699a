"""reports/cross_validation.json: how settings measure on folds of the training and validation images."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from components.core.document import Document
from components.core.label_set import LabelSet
from components.core.reports.evaluation import Estimate, Subgroups


@dataclass(frozen=True)
class Fold:
    """One training."""

    repeat: Annotated[int, Field(description="number of the deal, from 0")]
    number: Annotated[int, Field(description="number of the fold that is held out, from 0")]
    images: Annotated[int, Field(description="images held out")]
    epochs: Annotated[int, Field(description="epochs trained")]
    figures: Annotated[dict[str, float], Field(json_schema_extra={"key": "metric"}, description="headline metrics on the held-out images")]


@dataclass(frozen=True)
class Bin:
    """Images whose largest probability lies in one range of equal width."""

    confidence: Annotated[float, Field(description="mean of the largest probabilities")]
    accuracy: Annotated[float, Field(description="share whose likeliest class is right")]
    images: Annotated[int, Field(description="number of images")]


@dataclass(frozen=True)
class Suspect:
    """An image whose label may be wrong: every repeat names another class for it, with confidence."""

    path: Annotated[str, Field(description="path relative to data/")]
    diagnosis: Annotated[str, Field(description="its class")]
    named: Annotated[str, Field(description="class that is named for it")]
    probability: Annotated[float, Field(description="mean probability of its own class")]


class CrossValidation(Document):
    """Cross-validated figures. They are of images that training and validation are made of, never of test."""

    calibration: tuple[Bin, ...] = Field(description="bins of the largest probability, pooled as below")
    confusion: list[list[int]] = Field(description="out-of-fold images of the first repeat: rows are the true class, columns the named one")
    deal: str = Field(default="", description="hash of which images each fold holds out; reports with the same one can be compared")
    folds: tuple[Fold, ...] = Field(description="each training")
    held_out_share: float = Field(description="images held out divided by images trained on, in the correction of the intervals")
    images: int = Field(description="images")
    groups: int = Field(description="lesion groups among them")
    label_set: LabelSet = Field(description="the label set")
    mean: dict[str, Estimate] = Field(
        json_schema_extra={"key": "metric"}, description="mean over all folds, with the interval of the corrected resampled t"
    )
    phase: str = Field(default="frozen", description="what a fold trains: `frozen`, the head, or `finetuned`, the upper blocks too")
    pooled: dict[str, Estimate] = Field(
        json_schema_extra={"key": "metric"},
        description="figures on all images, each predicted by the fold that held it out (first repeat); interval by lesion",
    )
    recall: dict[str, Estimate] = Field(json_schema_extra={"key": "class"}, description="share of the class's images, pooled as above")
    subgroups: dict[str, Subgroups] = Field(json_schema_extra={"key": "dimension"}, description="figures by subgroup, pooled as above")
    suspects: tuple[Suspect, ...] = Field(description="images whose label may be wrong, the most suspicious first")
