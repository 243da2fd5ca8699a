"""An Optuna study in a database that several searches may share, and that survives them."""

import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from components.core.errors import LesionflowError
from components.core.label_set import LabelSet
from components.runtime.params import Settings
from components.runtime.tensorflow import thread_count
from components.runtime.tuning_params import Axis
from components.search.fold_results import DECIDING
from components.search.identity import code_sha256, sha256_of
from components.search.objectives import Objective
from components.search.study_database import database_errors, open_storage, opening_alone

if TYPE_CHECKING:
    import optuna

DEFAULT = "default"
"""Attribute of the trial of the present setting."""


def study_name(features: str, labels: LabelSet, settings: Settings) -> str:
    """Name of the study: two searches share one if everything but the number of trials is the same for both.

    Args:
        features: identity of the cached features.
        labels: the label set.
        settings: params.yaml.
    """
    described = {
        "features": features,
        "labels": labels.identity,
        "train": settings.train.model_dump(),
        "tuning": settings.tuning.model_dump(exclude={"trials"}),
        "folds": settings.cross_validation.model_dump(),
        "seed": settings.seed,
        "threads": thread_count(),
        "code": code_sha256(*DECIDING),
    }
    return f"head {sha256_of(described)[:12]}"


def open_study(name: str, settings: Settings) -> "optuna.Study":
    """Open the study, or create it with the present setting as its first trial. Searches that start together do so one after another.

    Trials of a search that was killed are taken over after GRACE seconds.

    Raises:
        LesionflowError: the database does not respond, or the present setting is not in the space.
    """
    import optuna

    require_present_in_space(settings)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with database_errors(), opening_alone(), _without_experimental_warnings():
        study = optuna.create_study(
            storage=open_storage(),
            study_name=name,
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=settings.seed + os.getpid(), constant_liar=True),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=5),
            load_if_exists=True,
        )
        if not study.get_trials(deepcopy=False):
            study.enqueue_trial(present_values(settings), user_attrs={DEFAULT: True})
    return study


@contextmanager
def _without_experimental_warnings() -> Iterator[None]:
    """Optuna calls heartbeats and the constant liar experimental in every search."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def require_present_in_space(settings: Settings) -> None:
    """Raise if the present setting, with which every other is compared, is not in the space.

    Raises:
        LesionflowError: the message names the key.
    """
    for key, value in present_values(settings).items():
        axis = settings.tuning.space[key]
        inside = axis.bounds[0] <= value <= axis.bounds[1] if axis.choices is None else value in [stored(choice) for choice in axis.choices]
        if not inside:
            raise LesionflowError(f"{key} is {value} now, which tuning.space does not hold. Widen {key} there: the search starts from it.")


def present_values(settings: Settings) -> dict[str, Any]:
    """The present values of the varied keys, as Optuna stores them."""
    document = settings.model_dump(by_alias=True)
    values = {}
    for key in settings.tuning.space:
        section, _, name = key.partition(".")
        values[key] = stored(document[section][name])
    return values


def suggest(trial: "optuna.Trial", space: Mapping[str, Axis]) -> dict[str, Any]:
    """The values of the varied keys in a trial."""
    values: dict[str, Any] = {}
    for key, axis in space.items():
        if axis.choices is not None:
            values[key] = restored(trial.suggest_categorical(key, [stored(choice) for choice in axis.choices]))
        elif axis.integer:
            low, high = axis.bounds
            values[key] = trial.suggest_int(key, int(low), int(high), log=axis.log)
        else:
            values[key] = trial.suggest_float(key, *axis.bounds, log=axis.log)
    return values


def stored(value: Any) -> Any:
    """A value as Optuna's database takes it: lists as JSON."""
    return json.dumps(value) if isinstance(value, list | tuple) else value


def restored(value: Any) -> Any:
    """The value that `stored` took."""
    return json.loads(value) if isinstance(value, str) and value.startswith("[") else value


def search(study: "optuna.Study", settings: Settings, objective: Objective, on_trial: Callable[["optuna.trial.FrozenTrial"], None]) -> None:
    """Try settings until as many as `tuning.trials` are complete or pruned, by this search and others on the study.

    Args:
        study: the study.
        settings: params.yaml.
        objective: function from a trial, to which it reports, and the settings of the trial to the value; it may raise TrialPruned.
        on_trial: called with each trial of this search that has ended.

    Raises:
        ServiceUnavailable: the database does not respond any more.
    """
    from optuna.study import MaxTrialsCallback

    with database_errors():
        if len(ended_trials(study)) >= settings.tuning.trials:
            return
        study.optimize(
            lambda trial: objective(trial, settings.with_values(suggest(trial, settings.tuning.space))),
            callbacks=[lambda _, trial: on_trial(trial), MaxTrialsCallback(settings.tuning.trials, states=_counted())],
        )


def ended_trials(study: "optuna.Study") -> "list[optuna.trial.FrozenTrial]":
    """The trials that count: complete or pruned."""
    return study.get_trials(deepcopy=False, states=_counted())


def _counted() -> "tuple[optuna.trial.TrialState, ...]":
    from optuna.trial import TrialState

    return (TrialState.COMPLETE, TrialState.PRUNED)
