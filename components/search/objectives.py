"""What a trial of a search is judged by: balanced accuracy on images that it did not train on, never on test."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from components.core.label_set import LabelSet
from components.runtime.params import Settings
from components.runtime.tuning_params import Phase
from components.search.cross_validation import in_phase, run_fold
from components.search.fold_cache import FoldCache
from components.search.folds import Parts, deal
from components.search.head_training import HeadSettings, train_head
from components.search.measurement import fold_figures
from components.search.trial_features import features_of_trial, fine_tuned_score

if TYPE_CHECKING:
    import optuna

METRIC = "balanced_accuracy"
Objective = Callable[["optuna.Trial", Settings], float]


def make_objective(cache: FoldCache, labels: LabelSet, settings: Settings, phase: Phase) -> Objective:
    """The objective that `tuning.objective` names, of trials of the head or of fine-tuning."""
    if settings.tuning.objective == "cross_validation":
        return _over_folds(cache, labels, settings, phase)
    return _on_validation(cache, labels, settings, phase)


def _on_validation(cache: FoldCache, labels: LabelSet, present: Settings, phase: Phase) -> Objective:
    """Balanced accuracy on validation of the best epoch, as the stages `train` and `finetune` report it; reported after each epoch."""
    validation = (cache.images["side"] == "validation").to_numpy()
    parts = Parts(~validation, validation, validation)

    def objective(trial: "optuna.Trial", settings: Settings) -> float:
        def report(epoch: int, metrics: dict[str, float]) -> None:
            trial.report(metrics[f"val_{METRIC}"], epoch)
            _stop_if_hopeless(trial, settings, present)

        if phase == "frozen":
            return train_head(cache, parts, labels, HeadSettings(settings.train, settings.seed), report).score
        return fine_tuned_score(cache, parts, labels, settings, report)

    return objective


def _over_folds(cache: FoldCache, labels: LabelSet, present: Settings, phase: Phase) -> Objective:
    """Mean balanced accuracy over the folds that `lesionflow cv` deals; the mean so far is reported after each fold."""
    folds = list(deal(cache.images, present.cross_validation, present.seed))

    def objective(trial: "optuna.Trial", settings: Settings) -> float:
        found: list[float] = []
        with features_of_trial(cache, settings) as features:
            for number, dealt in enumerate(folds):
                held_out = run_fold(features, dealt, labels, in_phase(settings, phase)).held_out
                found.append(fold_figures(held_out, settings.evaluate.calibration_bins)[METRIC])
                trial.report(float(np.mean(found)), number)
                if number + 1 < len(folds):
                    _stop_if_hopeless(trial, settings, present)
        return float(np.mean(found))

    return objective


def _stop_if_hopeless(trial: "optuna.Trial", tried: Settings, present: Settings) -> None:
    """Stop a trial that falls behind; never the one with the present settings, with which the best is compared.

    Raises:
        optuna.TrialPruned: it is to be stopped.
    """
    import optuna

    if tried != present and trial.should_prune():
        raise optuna.TrialPruned
