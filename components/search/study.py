"""An Optuna study in a database that several searches may share, and that survives them."""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from components.core.label_set import LabelSet
from components.runtime.params import Settings
from components.runtime.tensorflow import thread_count
from components.search.fold_results import DECIDING
from components.search.identity import code_sha256, sha256_of
from components.search.levels import Level, best_heads
from components.search.objectives import Objective
from components.search.study_database import database_errors, open_storage, opening_alone

if TYPE_CHECKING:
    import optuna

DEFAULT = "default"
"""Attribute of the trial of the present setting."""


def study_name(features: str, labels: LabelSet, settings: Settings, level: Level) -> str:
    """Name of the study: two searches share one if everything but the number of trials is the same for both.

    Args:
        features: identity of the cached features.
        labels: the label set.
        settings: params.yaml.
        level: what is varied.
    """
    described = {
        "features": features,
        "labels": labels.identity,
        "train": settings.train.model_dump(),
        "tuning": settings.tuning.model_dump(exclude={"trials", "finetuned"}),
        "folds": settings.cross_validation.model_dump(exclude={"phase"}),
        "seed": settings.seed,
        "threads": thread_count(),
        "code": code_sha256(*DECIDING),
    }
    if level.phase == "frozen":
        return f"head {sha256_of(described)[:12]}"
    space = {key: axis.model_dump() for key, axis in level.space.items()}
    deeper = {"finetune": settings.finetune.model_dump(), "space": space, "heads": level.heads}
    return f"finetuned {sha256_of({**described, **deeper})[:12]}"


def open_study(name: str, settings: Settings, level: Level) -> "optuna.Study":
    """Open the study, or create it with the present setting as its first trial. Searches that start together do so one after another.

    Trials of a search that was killed are taken over after GRACE seconds.

    Raises:
        LesionflowError: the database does not respond, or the present setting is not in the space.
    """
    import optuna

    present = level.present(settings)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with database_errors(), opening_alone(), _without_experimental_warnings():
        study = optuna.create_study(
            storage=open_storage(),
            study_name=name,
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=settings.seed + os.getpid(), constant_liar=True),
            pruner=level.pruner(settings),
            load_if_exists=True,
        )
        if not study.get_trials(deepcopy=False):
            study.enqueue_trial(present, user_attrs={DEFAULT: True})
    return study


@contextmanager
def _without_experimental_warnings() -> Iterator[None]:
    """Optuna calls heartbeats and the constant liar experimental in every search."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def search(
    study: "optuna.Study",
    settings: Settings,
    objective: Objective,
    on_trial: Callable[["optuna.trial.FrozenTrial"], None],
    level: Level,
) -> None:
    """Try settings until as many as the level wants are complete or pruned, by this search and others on the study.

    Args:
        study: the study.
        settings: params.yaml.
        objective: function from a trial, to which it reports, and the settings of the trial to the value; it may raise TrialPruned.
        on_trial: called with each trial of this search that has ended.
        level: what is varied.

    Raises:
        ServiceUnavailable: the database does not respond any more.
    """
    from optuna.study import MaxTrialsCallback

    with database_errors():
        if len(ended_trials(study)) >= level.trials:
            return
        study.optimize(
            lambda trial: objective(trial, settings.with_values(level.suggest(trial))),
            callbacks=[lambda _, trial: on_trial(trial), MaxTrialsCallback(level.trials, states=_counted())],
        )


def ended_trials(study: "optuna.Study") -> "list[optuna.trial.FrozenTrial]":
    """The trials that count: complete or pruned."""
    return study.get_trials(deepcopy=False, states=_counted())


def _counted() -> "tuple[optuna.trial.TrialState, ...]":
    from optuna.trial import TrialState

    return (TrialState.COMPLETE, TrialState.PRUNED)


def chosen_heads(study: "optuna.Study", settings: Settings) -> dict[str, dict[str, Any]]:
    """The settings of the head that fine-tuning trials choose from. The first search to ask decides for all that share the study: another
    may still be in its last trial."""
    name = f"heads {settings.tuning.trials} {settings.tuning.finetuned.heads}"
    with opening_alone():
        if name not in study.user_attrs:
            study.set_user_attr(name, best_heads(study, settings))
        heads: dict[str, dict[str, Any]] = study.user_attrs[name]
    return heads
