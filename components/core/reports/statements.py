"""card.yaml: what a person states about the use of a model, since no measurement tells it."""

from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import ConfigDict, Field, ValidationError

from components.core.document import JsonFile
from components.core.errors import LesionflowError, describe_invalid

STATEMENTS_FILE = Path("card.yaml")


class Statements(JsonFile):
    """The keys of card.yaml. The model card says "not stated" for those that are null or missing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    intended_use: str | None = Field(default=None, description="what the model is for")
    users: str | None = Field(default=None, description="who uses it")
    setting: str | None = Field(default=None, description="where, and at which step of care or research")
    not_for: str | None = Field(default=None, description="uses that are ruled out")
    contact: str | None = Field(default=None, description="who answers questions, and where harm and complaints are reported")
    license: str | None = Field(default=None, description="license of the model, as an identifier of Hugging Face, such as `cc-by-4.0`")
    devices: str | None = Field(default=None, description="cameras and dermoscopes that took the images")
    dates: str | None = Field(default=None, description="when the images were taken")
    hardware: str | None = Field(default=None, description="machine on which it was trained, and how long it took")
    human_oversight: str | None = Field(default=None, description="who reads the answers, and how errors are noticed")
    stop_when: str | None = Field(default=None, description="conditions under which the model is no longer used, beyond those of the card")
    lifetime: str | None = Field(default=None, description="how long it is meant to be used, and which changes are foreseen")
    comparison_with_clinicians: str | None = Field(default=None, description="result of a reader study on the same images")

    @classmethod
    def load(cls, path: Path = STATEMENTS_FILE) -> Self:
        """Read card.yaml; without the file, nothing is stated.

        Raises:
            LesionflowError: it is not a mapping in YAML, or a key is unknown or not text.
        """
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls()
        except (yaml.YAMLError, UnicodeDecodeError) as fault:
            raise LesionflowError(f"{path} is not valid YAML: {' '.join(str(fault).split())}") from None
        try:
            return cls.model_validate({} if content is None else content)
        except ValidationError as fault:
            raise LesionflowError("\n".join(f"{path}: {_describe(error)}" for error in fault.errors())) from None


def _describe(error: Any) -> str:
    key = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key. Use {', '.join(Statements.model_fields)}"
    return describe_invalid(key, error) if key else "must be a mapping of keys to text"
