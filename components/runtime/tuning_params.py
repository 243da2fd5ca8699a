"""The sections `cross_validation` and `tuning` of params.yaml: folds, what a search varies, and by what it judges."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from components.runtime.validation_params import Section

Value = float | int | bool | str | tuple[int, ...]


class CrossValidation(Section):
    """`folds`: parts that the training and validation images are dealt into; `repeats`: how often they are dealt, each time in another
    order."""

    folds: Annotated[int, Field(ge=3, le=20)]
    repeats: Annotated[int, Field(ge=1, le=100)]


class Axis(Section):
    """What is tried of one key: all numbers from `low` to `high`, or one of several `choices`. `log`: small numbers are tried as often as
    large ones; `integer`: only whole numbers."""

    low: float | None = None
    high: float | None = None
    log: bool = False
    integer: bool = False
    choices: Annotated[tuple[Value, ...], Field(min_length=2)] | None = None

    @model_validator(mode="after")
    def _is_a_range_or_has_choices(self) -> "Axis":
        if (self.choices is None) == (self.low is None or self.high is None):
            raise ValueError("give either low and high, or choices")
        if self.choices is not None:
            return self
        low, high = self.bounds
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"low must be below high, found {low:g} and {high:g}")
        if self.log and low <= 0:
            raise ValueError(f"low must be above 0 with log: true, found {low:g}")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest number.

        Raises:
            ValueError: the key has choices.
        """
        if self.low is None or self.high is None:
            raise ValueError("choices have no bounds")
        return self.low, self.high

    @property
    def tried(self) -> tuple[Value, ...]:
        """All choices, or the smallest and the largest number: if these are valid, every value is."""
        if self.choices is not None:
            return self.choices
        return tuple(int(bound) for bound in self.bounds) if self.integer else self.bounds


class Tuning(Section):
    """`trials`: number of settings that are tried, the present one included. `objective`: validation is balanced accuracy on it, as `train`
    reports it; cross_validation its mean over the folds of `cross_validation`. `space`: by key of params.yaml, as train.dropout, what is
    tried."""

    trials: Annotated[int, Field(ge=2, le=100_000)]
    objective: Literal["validation", "cross_validation"]
    space: Annotated[dict[str, Axis], Field(min_length=1)]


def with_values(document: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested params with other values of keys such as train.dropout.

    Raises:
        ValueError: a key is not a key of a section.
    """
    changed = {name: dict(section) if isinstance(section, Mapping) else section for name, section in document.items()}
    for key, value in values.items():
        section, _, name = key.partition(".")
        if not isinstance(changed.get(section), dict) or name not in changed[section]:
            raise ValueError(f"tuning.space: {key} is not a key of params.yaml")
        changed[section][name] = value
    return changed


def require_valid_space(tuning: Tuning, searched: Mapping[str, Section]) -> None:
    """Raise if a search would try a value that params.yaml does not allow.

    Args:
        tuning: the section.
        searched: the present sections whose keys may be varied, by name.

    Raises:
        ValueError: the message names the key and the value.
    """
    for key, axis in tuning.space.items():
        name = key.partition(".")[0]
        if name not in searched:
            raise ValueError(f"tuning.space: {key}: a search varies {', '.join(f'{section}.*' for section in searched)} only")
        section = searched[name]
        for value in axis.tried:
            try:
                type(section).model_validate(with_values({name: section.model_dump()}, {key: value})[name])
            except ValidationError as fault:
                raise ValueError(f"tuning.space: {key} cannot be {value}: {fault.errors()[0]['msg']}") from None
