"""measured.json: what a version's evidence depends on, beside the reports and predictions in the same folder."""

from pydantic import ConfigDict, Field, JsonValue

from components.core.document import JsonFile, Part
from components.core.former_formats import OfLabelSet
from components.core.label_set import LabelSet
from components.core.reports.registration import Rule


class GitState(Part):
    """The code's place in git."""

    commit: str
    dirty: bool = Field(description="whether there were changes that were not committed")


class EvaluationParams(Part):
    """The section `evaluate` of params.yaml, whose other params are kept as they are."""

    model_config = ConfigDict(frozen=True, extra="allow")

    calibration_bins: int


class MeasuredParams(Part):
    """The params that a version's figures and the gate's verdict depend on."""

    seed: int | None = None
    evaluate: EvaluationParams
    registration: dict[str, JsonValue] = Field(default_factory=dict, alias="register")


class Measured(OfLabelSet, JsonFile):
    """A field with a default is kept for people: nothing reads it, and a file without it is still evidence."""

    alone: tuple[Rule, ...] = Field(description="verdict of the rules that need no other version")
    catalog_sha256: str | None = None
    code: dict[str, str] = Field(default_factory=dict, description="sha256 of each module of components/")
    data_md5: str = Field(description="the dataset's md5 in data.dvc")
    git: GitState | None = None
    label_set: LabelSet
    model_sha256: str | None = None
    overrides: list[str] = Field(default_factory=list, description="params that this run alone used")
    packages: dict[str, str] = Field(default_factory=dict, description="versions of packages")
    params: MeasuredParams
    phase: str | None = None
    phase_sha256: str | None = None
    python: str | None = None
    test_split_hash: str = Field(description="as in `reports/split.json`")
