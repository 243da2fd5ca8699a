"""Runs the folds of a cross-validation, each once."""

from collections.abc import Iterator

from components.core.label_set import LabelSet
from components.runtime.params import Settings
from components.search.fold_cache import FoldCache
from components.search.fold_results import FoldResults
from components.search.folds import assign_folds, parts_of
from components.search.head_training import HeadSettings, calibrated, train_head
from components.search.measurement import FoldPredictions


def run_folds(cache: FoldCache, labels: LabelSet, settings: Settings, results: FoldResults) -> Iterator[FoldPredictions]:
    """Yield the predictions of every fold of every repeat; a fold with a kept result is not trained again.

    Repeat 0 deals with the seed of the pipeline, the next with the next seed; the head of each fold has the seed of its repeat.

    Raises:
        LesionflowError: a class has fewer groups than there are folds.
    """
    params = settings.cross_validation
    for repeat in range(params.repeats):
        seed = settings.seed + repeat
        assigned = assign_folds(cache.images, params.folds, seed)
        for number in range(params.folds):
            kept = results.read(repeat, number)
            if kept is not None:
                yield kept
                continue
            parts = parts_of(assigned, number)
            trained = train_head(cache, parts, labels, HeadSettings(settings.train, seed))
            held_out = calibrated(cache, parts, labels, trained, settings.evaluate.target_critical_sensitivity)
            found = FoldPredictions(repeat, number, held_out, int(parts.trained.sum()), trained.epochs)
            results.write(found)
            yield found
