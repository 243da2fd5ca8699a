"""reports/tuning.json: what a search for better settings found."""

from pydantic import Field

from components.core.document import Document, Part

Setting = float | int | bool | str | list[int]
"""A value of params.yaml."""


class SearchResult(Part):
    """The result of one level of a search."""

    best: dict[str, Setting] = Field(json_schema_extra={"key": "key"}, description="values of the varied keys in the best trial")
    best_trial: int = Field(description="number of that trial")
    best_value: float = Field(description="its balanced accuracy by the objective")
    counts: dict[str, int] = Field(json_schema_extra={"key": "state"}, description="trials by Optuna's state")
    importance: dict[str, float] = Field(
        json_schema_extra={"key": "key"}, description="share of the variance between trials that each varied key explains (fANOVA)"
    )
    present: dict[str, Setting] = Field(json_schema_extra={"key": "key"}, description="values in params.yaml when the search started")
    present_value: float | None = Field(description="their balanced accuracy by the objective; null until their trial is complete")
    study: str = Field(description="name of the study in the database")


class TuningReport(SearchResult, Document):
    """The result of a search: of its last level. Nothing in it is of test images."""

    head: SearchResult | None = Field(
        default=None, description="the search of the head alone, if one of fine-tuning followed; its values are not comparable"
    )
    objective: str = Field(description="`validation` or `cross_validation`")
    phase: str = Field(default="frozen", description="what was searched last: `frozen`, the head, or `finetuned`, fine-tuning with it")
