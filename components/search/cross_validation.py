"""Runs the folds of a cross-validation, each once."""

from collections.abc import Iterator

from components.core.label_set import LabelSet
from components.runtime.params import Settings
from components.search.fold_cache import FoldCache
from components.search.fold_results import FoldResults
from components.search.folds import Dealt, deal
from components.search.head_training import HeadSettings, calibrated, train_head
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
    """Train a head while a fold is held out, and predict the fold."""
    parts = dealt.parts
    trained = train_head(cache, parts, labels, HeadSettings(settings.train, dealt.seed))
    held_out = calibrated(cache, parts, labels, trained, settings.evaluate.target_critical_sensitivity)
    return FoldPredictions(dealt.repeat, dealt.number, held_out, int(parts.trained.sum()), trained.epochs)
