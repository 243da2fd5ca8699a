"""reports/registration.json: the version that the candidate became, and the gate's verdict on it."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from components.core.document import Document


@dataclass(frozen=True)
class Rule:
    """One rule's verdict; `says` is a sentence for a person."""

    name: Annotated[str, Field(description="name of the rule")]
    passed: Annotated[bool, Field(description="whether the version passed it")]
    says: Annotated[str, Field(description="figures and threshold, in a sentence")]


@dataclass(frozen=True)
class Promotion:
    """One change of champion, as the promotion record holds it.

    `nonce` keeps two writers from ever writing equal entries. `evidence` is None where `after` has no evidence of its own, and in
    entries written before versions had.
    """

    model: Annotated[str, Field(description="the registered model")]
    before: Annotated[str | None, Field(description="champion before; null if there was none")]
    after: Annotated[str | None, Field(description="champion after; null if the alias was removed")]
    source: Annotated[str, Field(description="what moved it: `gate`, `promote`, `override`, `rollback` or `moved outside the gate`")]
    reason: Annotated[str, Field(description="a person's reason, or empty")]
    verdict: Annotated[str, Field(description="the gate's verdict on `after`, in a line")]
    when: Annotated[str, Field(description="UTC, ISO 8601; for a move outside the gate, when it was noticed")]
    who: Annotated[str, Field(description="user who moved or noticed it")]
    nonce: Annotated[str, Field(description="random text, different in every entry")]
    evidence: Annotated[str | None, Field(description="sha256 of the evidence on `after`")] = None


class Registration(Document):
    """What registering the candidate did. A field with a default is missing in files of older versions of Lesionflow."""

    champion: str | None = Field(description="champion version after the run; null if there is none")
    experiment: str | None = Field(default=None, description="DVC experiment that the candidate is from, which moves no alias")
    gate: tuple[Rule, ...] = Field(description="the gate's rules")
    gate_passed: bool = Field(description="whether every rule passed")
    mlflow_run: str | None = Field(description="MLflow run of the version")
    model: str = Field(description="the registered model")
    new_version: bool = Field(description="false if the candidate had been registered before with the same evidence")
    noticed: Promotion | None = Field(default=None, description="a move of `champion` outside the gate that this run noticed")
    overrides: tuple[str, ...] = Field(default=(), description="params that this run alone used")
    overrides_beyond_training: tuple[str, ...] = Field(default=(), description="those of them that leave the promotion to a person")
    overtaken: str | None = Field(default=None, description="why an automatic promotion failed, if another process promoted first")
    promote: str = Field(description="`automatic` or `manual`")
    promotion: Promotion | None = Field(default=None, description="the automatic promotion, if there was one")
    version: str = Field(description="number of the version")
    warning: str | None = Field(default=None, description="why the int8 export was not written")
    was_champion: bool = Field(default=False, description="whether this candidate has been champion before")
