"""What `lesionflow champion show` and `lesionflow champion verify` print with `--format json`."""

from pydantic import Field

from components.core.document import Part
from components.core.label_set import LabelSet
from components.core.reports.evaluation import Estimate
from components.core.reports.registration import Promotion, Rule


class VersionOverview(Part):
    """A version as its tags and the promotion record hold it; a field is None where a tag is missing."""

    version: str = Field(description="number of the version")
    run_id: str | None = Field(description="its MLflow run")
    phase: str | None = Field(description="`frozen` or `finetuned`")
    label_set: LabelSet | None = Field(description="outputs, malignant ones and critical class; null where the tags do not tell")
    data_md5: str | None = Field(description="the dataset's md5 in data.dvc")
    test_split_hash: str | None = Field(description="as in `reports/split.json`")
    git_commit: str | None = Field(description="commit of the code")
    gate: str = Field(description="the gate's last verdict, or `never judged`")
    judged_at: str | None = Field(description="when the gate judged it")
    judged_against: str | None = Field(description="champion of that time, or `none`")
    rules: list[Rule] = Field(description="the verdict rule by rule")
    figures: dict[str, Estimate] = Field(description="test figures with four decimals")
    champion_since: str | None = Field(description="when it last became champion")
    champion_by: str | None = Field(description="how, and by whom")


class Overview(Part):
    """Champion and challenger of a registered model, and the move outside the gate that this command noticed, if any."""

    model: str = Field(description="the registered model")
    champion: VersionOverview | None
    challenger: VersionOverview | None
    noticed: Promotion | None


class MetricPair(Part):
    """A test figure as recorded, and as measured now."""

    recorded: float
    now: float


class Changes(Part):
    """What moved between the recorded figures and predictions and those of now."""

    critical_class: str | None = Field(default=None, description="class that `critical_sensitivity` is about")
    figures: dict[str, MetricPair]
    moved: list[str] = Field(description="figures that differ by more than the tolerance")
    unsupported: list[str] = Field(description="recorded figures that the recorded predictions do not give")
    changed_diagnoses: int = Field(description="images whose top-1 diagnosis differs")
    largest_change: float = Field(description="of a probability")


class Verification(Changes):
    """The changes of a version on its test images, with its dataset and the number of images."""

    model: str = Field(description="the registered model")
    version: str = Field(description="number of the version")
    data_md5: str = Field(description="the dataset's md5 in data.dvc")
    images: int = Field(description="test images")
