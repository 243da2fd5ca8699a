"""The sections `cross_validation` and `tuning` of params.yaml: folds, what a search varies, and by what it judges."""

import math
from collections.abc import Mapping
from itertools import combinations, product
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from components.core import architectures
from components.core.errors import LesionflowError
from components.runtime.validation_params import Section

Value = float | int | bool | str | tuple[int, ...]
Phase = Literal["frozen", "finetuned"]
UNFREEZE_FROM = "finetune.unfreeze_from"


class CrossValidation(Section):
    """`folds`: parts that the training and validation images are dealt into; `repeats`: how often they are dealt, each time in another
    order. `phase`: a fold ends with the head on the frozen base, or goes on to fine-tune."""

    folds: Annotated[int, Field(ge=3, le=20)]
    repeats: Annotated[int, Field(ge=1, le=100)]
    phase: Phase


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
        """All choices, or the smallest and the largest number and, if not only whole ones are tried, a fraction between them: if these are
        valid, every value is."""
        if self.choices is not None:
            return self.choices
        low, high = self.bounds
        return (int(low), int(high)) if self.integer else (low, high, low + (high - low) / math.pi)


class FinetunedTuning(Section):
    """`trials`: number of fine-tuning trials after the search of the head, the present setting included; 0: none. `heads`: number of the
    best settings of the head, beside the present one, among which a trial chooses. `space`: by key of the sections finetune and augment,
    what is tried."""

    trials: Annotated[int, Field(ge=0, le=10_000)]
    heads: Annotated[int, Field(ge=0, le=100)]
    space: Annotated[dict[str, Axis], Field(min_length=1)]


class Tuning(Section):
    """`trials`: number of settings that are tried, the present one included. `objective`: validation is balanced accuracy on it, as `train`
    and `finetune` report it; cross_validation its mean over the folds of `cross_validation`. `space`: by key of params.yaml, as
    train.dropout, what is tried. `finetuned`: the search of fine-tuning that follows."""

    trials: Annotated[int, Field(ge=2, le=100_000)]
    objective: Literal["validation", "cross_validation"]
    space: Annotated[dict[str, Axis], Field(min_length=1)]
    finetuned: FinetunedTuning


def with_values(document: Mapping[str, Any], values: Mapping[str, Any], origin: str = "tuning.space") -> dict[str, Any]:
    """A copy of nested params with other values of keys such as train.dropout; `origin` names them in messages.

    Raises:
        ValueError: a key is not a key of a section.
    """
    changed = {name: dict(section) if isinstance(section, Mapping) else section for name, section in document.items()}
    for key, value in values.items():
        section, _, name = key.partition(".")
        if not isinstance(changed.get(section), dict) or name not in changed[section]:
            raise ValueError(f"{origin}: {key} is not a key of params.yaml")
        changed[section][name] = value
    return changed


def require_valid_spaces(tuning: Tuning, sections: Mapping[str, Section], architecture: str) -> None:
    """Raise if a search would try a value that params.yaml does not allow.

    Args:
        tuning: the section.
        sections: the present sections train, finetune and augment, by name.
        architecture: of the backbone, whose layers `finetune.unfreeze_from` names.

    Raises:
        ValueError: the message names the key and the value.
    """
    _require_valid("tuning.space", tuning.space, {"train": sections["train"]})
    deeper = tuning.finetuned
    _require_valid("tuning.finetuned.space", deeper.space, {name: sections[name] for name in ("finetune", "augment")})
    if deeper.trials and UNFREEZE_FROM in deeper.space:
        for start in deeper.space[UNFREEZE_FROM].tried:
            _require_layer(architecture, start)


def _require_valid(space_name: str, space: Mapping[str, Axis], sections: Mapping[str, Section]) -> None:
    """Try every value alone, and every two values of a section together: no rule of params.yaml is about more than two keys."""
    for key in space:
        if key.partition(".")[0] not in sections:
            raise ValueError(f"{space_name}: {key}: this search varies {', '.join(f'{name}.*' for name in sections)} only")
    tried = {key: axis.tried for key, axis in space.items()}
    together = [pair for pair in combinations(tried, 2) if pair[0].partition(".")[0] == pair[1].partition(".")[0]]
    for keys in [*((key,) for key in tried), *together]:
        name = keys[0].partition(".")[0]
        for values in product(*(tried[key] for key in keys)):
            _require_allowed(space_name, name, sections[name], dict(zip(keys, values, strict=True)))


def _require_allowed(space_name: str, name: str, section: Section, values: Mapping[str, Value]) -> None:
    changed = with_values({name: section.model_dump()}, values, space_name)[name]
    try:
        type(section).model_validate(changed)
    except ValidationError as fault:
        (key, value), *others = values.items()
        beside = "".join(f" with {other} {also}" for other, also in others)
        reason = fault.errors()[0]["msg"].removeprefix("Value error, ")
        raise ValueError(f"{space_name}: {key} cannot be {value}{beside}: {reason}") from None


def _require_layer(architecture: str, start: Value) -> None:
    if not isinstance(start, int | str):
        raise ValueError(f"tuning.finetuned.space: {UNFREEZE_FROM} is a name or a whole number, not {start}. Give choices.")
    try:
        layers = list(architectures.layers_of(architecture))
        architectures.layer_number(layers, architectures.unfreeze_from(architecture, start))
    except LesionflowError as fault:
        raise ValueError(f"tuning.finetuned.space: {UNFREEZE_FROM}: {fault} ({architecture})") from None
