"""Features and shards of fine-tuning trials, which depend on the trial's augmentation: those of one augmentation are kept at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.core.label_set import LabelSet
from components.runtime.params import Settings
from components.search import work_folders
from components.search.fold_cache import FoldCache, cache_identity, features_identity, load_cache
from components.search.fold_finetuning import Task, discard_progress, fine_tune
from components.search.folds import Parts
from components.search.work_folders import work_folder
from components.training.loop import OnEpochEnd, Silent

FEATURES = Path("build/tuning/features")
SHARDS = Path("build/tuning/finetuning")


@contextmanager
def features_of_trial(cache: FoldCache, settings: Settings) -> Iterator[FoldCache]:
    """Features of views with the trial's augmentation: those given, if theirs is the same, else others, which are rendered and embedded."""
    identity = cache_identity(cache.images, features_identity(cache.images, settings))
    if identity == cache.identity:
        yield cache
        return
    with work_folder(FEATURES, identity) as folder:
        yield load_cache(settings, folder / "features")


def fine_tuned_score(cache: FoldCache, parts: Parts, labels: LabelSet, settings: Settings, on_epoch_end: OnEpochEnd) -> float:
    """Balanced accuracy on the stopping images after fine-tuning, of the best epoch.

    Args:
        cache: features of the present augmentation.
        parts: of its images.
        labels: the label set.
        settings: of the trial. The same settings and number of threads give the same value.
        on_epoch_end: called with the number and the metrics of each epoch; may raise to end the training.

    Raises:
        LesionflowError: as `fine_tune`.
    """
    with features_of_trial(cache, settings) as features:
        task = Task(features, parts, labels, settings)
        with work_folder(SHARDS, task.identity) as folder:
            score = fine_tune(task, folder, Silent(on_epoch_end)).score
            discard_progress(folder)
    return score


def clear() -> None:
    """Delete what no running trial uses."""
    work_folders.clear(FEATURES)
    work_folders.clear(SHARDS)
