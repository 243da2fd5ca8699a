"""The two levels of a search: settings of the head, then settings of fine-tuning with one of the best heads."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from components.core.errors import LesionflowError
from components.runtime.params import Settings
from components.runtime.tuning_params import Axis, Phase

if TYPE_CHECKING:
    import optuna

HEAD = "head"
"""The parameter of a fine-tuning trial that names the setting of its head."""
NOW = "now"
"""The name of the present setting of the head."""
STARTUP = 4
"""Complete trials before the median prunes the first."""
WARMUP_EPOCHS = 5
"""Epochs of a head before its trial is pruned."""
HALVING = 3
"""One in so many heads goes on after WARMUP_EPOCHS epochs, and again after so many times as many."""


@dataclass(frozen=True)
class Level:
    """What the trials of a search vary.

    Attributes:
        phase: frozen: the head; finetuned: fine-tuning.
        trials: number wanted.
        space: what is tried of each key of params.yaml.
        heads: settings of the head among which a trial chooses, by name: values of keys of params.yaml.
    """

    phase: Phase
    trials: int
    space: Mapping[str, Axis]
    heads: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """The key of params.yaml that has the space."""
        return "tuning.space" if self.phase == "frozen" else "tuning.finetuned.space"

    def present(self, settings: Settings) -> dict[str, Any]:
        """The present setting as parameters of a trial.

        Raises:
            LesionflowError: it is not in the space, and every other setting is compared with it.
        """
        values = {key: stored(value) for key, value in present_values(settings, self.space).items()}
        for key, value in values.items():
            if not _contains(self.space[key], value):
                raise LesionflowError(
                    f"{key} is {value} now, which {self.where} does not hold. Widen {key} there: the search starts from it."
                )
        return {HEAD: NOW, **values} if self.heads else values

    def suggest(self, trial: "optuna.Trial") -> dict[str, Any]:
        """Let a trial choose; return the values of the varied keys."""
        params = {HEAD: trial.suggest_categorical(HEAD, list(self.heads))} if self.heads else {}
        return self.values({**params, **{key: _suggest(trial, key, axis) for key, axis in self.space.items()}})

    def values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The values of keys of params.yaml in a trial with these parameters."""
        head = self.heads[params[HEAD]] if HEAD in params else {}
        return {**head, **{key: restored(value) for key, value in params.items() if key in self.space}}

    def pruner(self, settings: Settings) -> "optuna.pruners.BasePruner":
        """Successive halving for the many epochs of many heads (ASHA, Li et al. 2020, arXiv:1810.05934), from WARMUP_EPOCHS on.

        Otherwise the median of the trials so far, since halving would rank a few epochs or folds by their noise: from the second fold, or
        from the first epoch of fine-tuning at the full rate.
        """
        import optuna

        over_folds = settings.tuning.objective == "cross_validation"
        if self.phase == "frozen" and not over_folds:
            return optuna.pruners.SuccessiveHalvingPruner(min_resource=WARMUP_EPOCHS, reduction_factor=HALVING)
        steps = 1 if over_folds else math.ceil(settings.finetune.warmup_epochs)
        return optuna.pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=steps)


def head_level(settings: Settings) -> Level:
    """The search of the head."""
    return Level("frozen", settings.tuning.trials, settings.tuning.space)


def finetuned_level(settings: Settings, heads: Mapping[str, Mapping[str, Any]]) -> Level:
    """The search of fine-tuning with these settings of the head."""
    return Level("finetuned", settings.tuning.finetuned.trials, settings.tuning.finetuned.space, heads)


def best_heads(study: "optuna.Study", settings: Settings) -> dict[str, dict[str, Any]]:
    """The present setting of the head, and the `tuning.finetuned.heads` best different ones of a search of the head, by name."""
    from optuna.trial import TrialState

    level, found = head_level(settings), {NOW: present_values(settings, settings.tuning.space)}
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    for trial in sorted(complete, key=lambda trial: (-float(trial.value or 0.0), trial.number)):
        values = level.values(trial.params)
        if len(found) <= settings.tuning.finetuned.heads and values not in found.values():
            found[f"trial {trial.number}"] = values
    return found


def present_values(settings: Settings, space: Mapping[str, Axis]) -> dict[str, Any]:
    """The present values of the keys of a space, as params.yaml has them."""
    document = settings.model_dump(by_alias=True, mode="json")
    return {key: document[key.partition(".")[0]][key.partition(".")[2]] for key in space}


def stored(value: Any) -> Any:
    """A value as Optuna's database takes it: lists as JSON."""
    return json.dumps(value) if isinstance(value, list | tuple) else value


def restored(value: Any) -> Any:
    """The value that `stored` took."""
    return json.loads(value) if isinstance(value, str) and value.startswith("[") else value


def _contains(axis: Axis, value: Any) -> bool:
    if axis.choices is not None:
        return value in [stored(choice) for choice in axis.choices]
    return bool(axis.bounds[0] <= value <= axis.bounds[1])


def _suggest(trial: "optuna.Trial", key: str, axis: Axis) -> Any:
    """The value of a key in a trial, as Optuna stores it."""
    if axis.choices is not None:
        return trial.suggest_categorical(key, [stored(choice) for choice in axis.choices])
    low, high = axis.bounds
    if axis.integer:
        return trial.suggest_int(key, int(low), int(high), log=axis.log)
    return trial.suggest_float(key, low, high, log=axis.log)
