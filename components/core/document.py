"""What every JSON report has in common: a format version, reading with clear errors, and writing."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from components.core.errors import LesionflowError, describe_invalid
from components.core.files import require_file, write_json


class Part(BaseModel):
    """A JSON object within a report. Keys that it does not know are ignored, so that files of other versions can be read."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    former_names: ClassVar[Mapping[str, str]] = {}
    """Today's name of each key that older files have under another name."""

    @model_validator(mode="before")
    @classmethod
    def _read_former_names(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        return {cls.former_names.get(key, key): value for key, value in content.items()}


class JsonFile(Part):
    """A JSON file."""

    @classmethod
    def read(cls, path: Path, origin: str = "") -> Self:
        """Read a file; `origin` names it in messages in place of its path.

        Raises:
            LesionflowError: the file does not exist, or as `parse`.
        """
        return cls.parse(require_file(path).read_bytes(), origin or str(path))

    @classmethod
    def parse(cls, content: bytes, origin: str) -> Self:
        """Read the bytes of a file.

        Raises:
            LesionflowError: they are not JSON, or a key is missing or has a wrong value; `origin` and each such key are named.
        """
        try:
            return cls.model_validate(json.loads(content))
        except ValidationError as fault:
            raise LesionflowError("\n".join(f"{origin}: {_describe(error)}" for error in fault.errors())) from None
        except ValueError as fault:
            raise LesionflowError(f"{origin} is not valid JSON: {fault}") from None

    def write(self, path: Path) -> None:
        """Write the file: every key that has been set."""
        write_json(path, self.model_dump(exclude_unset=True, by_alias=True))


class Document(JsonFile):
    """A JSON file with a format version. Files of every version up to `current_version` are read, and written in the current one."""

    current_version: ClassVar[int] = 1
    schema_version: int = Field(
        default=1, strict=True, validate_default=True, description="version of the file's format; a file without it has version 1"
    )

    @field_validator("schema_version")
    @classmethod
    def _current(cls, version: int) -> int:
        if not 1 <= version <= cls.current_version:
            raise ValueError(f"input should be at most {cls.current_version}")
        return cls.current_version

    def write(self, path: Path) -> None:
        """Write the file: the format version, and every key that has been set."""
        write_json(path, {"schema_version": self.schema_version, **self.model_dump(exclude_unset=True)})


def _describe(error: Any) -> str:
    key, message = ".".join(map(str, error["loc"])), error["msg"]
    return describe_invalid(key, error) if key else f"{message[0].lower()}{message[1:]}"
