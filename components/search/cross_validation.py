"""Runs the folds of a cross-validation, each once."""

from collections.abc import Iterator

from components.core.label_set import LabelSet
from components.runtime.params import Settings
from components.runtime.tuning_params import Phase
from components.search.fold_cache import FoldCache
from components.search.fold_calibration import Trained, calibrated
from components.search.fold_finetuning import fine_tune_fold
from components.search.fold_results import FoldResults
from components.search.folds import Dealt, deal
from components.search.head_training import HeadSettings, train_head
from components.search.measurement import FoldPredictions


def run_folds(cache: FoldCache, labels: LabelSet, settings: Settings, results: FoldResults) -> Iterator[FoldPredictions]:
    """Yield the predictions of every fold of every repeat; a fold with a kept result is not trained again.

    Raises:
        LesionflowError: a class has fewer groups than there are folds.
    """
    for dealt in deal(cache.images, settings.cross_validation, settings.seed):
        yield fold_result(cache, dealt, labels, settings, results)


def fold_result(cache: FoldCache, dealt: Dealt, labels: LabelSet, settings: Settings, results: FoldResults) -> FoldPredictions:
    """The kept predictions of a fold; those of a new training, which are kept, if there are none."""
    found = results.read(dealt.repeat, dealt.number)
    if found is None:
        found = run_fold(cache, dealt, labels, settings)
        results.write(found)
    return found


def run_fold(cache: FoldCache, dealt: Dealt, labels: LabelSet, settings: Settings) -> FoldPredictions:
    """Train while a fold is held out, up to `cross_validation.phase`, and predict the fold.

    The same arguments and number of threads give the same predictions, also after an interruption.

    Raises:
        LesionflowError: as `fine_tune`.
    """
    trained = _trained(cache, dealt, labels, settings)
    held_out = calibrated(cache, dealt.parts, labels, trained, settings.evaluate.target_critical_sensitivity)
    return FoldPredictions(dealt.repeat, dealt.number, held_out, int(dealt.parts.trained.sum()), trained.epochs)


def _trained(cache: FoldCache, dealt: Dealt, labels: LabelSet, settings: Settings) -> Trained:
    if settings.cross_validation.phase == "finetuned":
        return fine_tune_fold(cache, dealt, labels, settings)
    return train_head(cache, dealt.parts, labels, HeadSettings(settings.train, dealt.seed))


def in_phase(settings: Settings, phase: Phase) -> Settings:
    """The settings with another `cross_validation.phase`."""
    params = settings.cross_validation.model_copy(update={"phase": phase})
    return settings.model_copy(update={"cross_validation": params})
