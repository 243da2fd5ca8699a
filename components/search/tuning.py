"""Searches the levels one after the other; several processes may do so together."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.core.label_set import LabelSet
from components.runtime.params import Settings
from components.search.fold_cache import FoldCache
from components.search.levels import HEAD, Level, finetuned_level, head_level
from components.search.objectives import make_objective
from components.search.study import chosen_heads, ended_trials, open_study, search, study_name

if TYPE_CHECKING:
    import optuna


TRIAL = {"frozen": "trial", "finetuned": "fine-tuning trial"}
"""Name of a trial of each phase."""


@dataclass(frozen=True)
class Searched:
    """A level, and the study with its trials."""

    level: Level
    study: "optuna.Study"

    def name(self, trial: "optuna.trial.FrozenTrial") -> str:
        """The trial's name for people."""
        return f"{TRIAL[self.level.phase]} {trial.number}"

    def values(self, trial: "optuna.trial.FrozenTrial") -> dict[str, Any]:
        """What the trial set: the name of its head, if it chose one, and keys of params.yaml."""
        return {**({HEAD: trial.params[HEAD]} if HEAD in trial.params else {}), **self.level.values(trial.params)}

    def line(self, trial: "optuna.trial.FrozenTrial") -> str:
        """A trial that has ended: how many have, its value, its state and what it set."""
        ended = sum(other.datetime_complete <= trial.datetime_complete for other in ended_trials(self.study))
        value = best_value(trial)
        shown = "no value" if value is None else f"{value:.3f}"
        return f"{ended} of {self.level.trials}: {self.name(trial)}, {shown} ({trial.state.name.lower()}) {self.values(trial)}"


def best_value(trial: "optuna.trial.FrozenTrial") -> float | None:
    """The value of a trial, or the best that it had reported before it was pruned, if any."""
    return trial.value if trial.value is not None else max(trial.intermediate_values.values(), default=None)


OnTrial = Callable[[Searched, "optuna.trial.FrozenTrial"], None]


def search_levels(cache: FoldCache, labels: LabelSet, settings: Settings, on_trial: OnTrial) -> list[Searched]:
    """Search the head until its study is complete, then fine-tuning, if `tuning.finetuned.trials` is above 0.

    Args:
        cache: features.
        labels: the label set.
        settings: params.yaml.
        on_trial: called with the level and each trial of this search that has ended.

    Raises:
        LesionflowError: the present setting is not in a space, or the study's database does not respond.
    """
    deeper = settings.tuning.finetuned.trials > 0
    if deeper:
        finetuned_level(settings, {}).present(settings)

    def searched(level: Level) -> Searched:
        study = open_study(study_name(cache.identity, labels, settings, level), settings, level)
        found = Searched(level, study)
        search(study, settings, make_objective(cache, labels, settings, level.phase), lambda trial: on_trial(found, trial), level)
        return found

    head = searched(head_level(settings))
    return [head, searched(finetuned_level(settings, chosen_heads(head.study, settings)))] if deeper else [head]
