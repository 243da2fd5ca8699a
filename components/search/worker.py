"""What one of several processes does that share a cross-validation or a search: they meet in files and in the study's database.

Each function may be called again, also by another process after the first was killed: what is there already is not computed again.
"""

import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from threading import Lock

from components.core.label_set import LabelSet
from components.runtime.environment import THREADS
from components.runtime.params import Settings
from components.runtime.params_file import load
from components.runtime.tensorflow import load_tensorflow
from components.search.cross_validation import fold_result
from components.search.fold_cache import load_cache
from components.search.fold_results import FoldResults
from components.search.folds import deal
from components.search.tuning import search_levels

ONE_AT_A_TIME = Lock()
"""Held by whoever computes: seeds belong to the process, and a Dask worker may run two tasks in one."""


def build_features(root: Path, threads: int) -> None:
    """Render and embed what folds and trials read, unless it is there.

    Args:
        root: folder of the project, which the process works in from then on.
        threads: TensorFlow's, from the first call of a process on.

    Raises:
        LesionflowError: as `load_cache`, or the process runs with another number of threads.
    """
    with ONE_AT_A_TIME:
        load_cache(_start(root, threads))


def compute_fold(root: Path, threads: int, at: int) -> None:
    """Train and predict a fold, and keep its result, unless it is there.

    Args:
        root, threads: as for `build_features`.
        at: position of the fold among those of all repeats.

    Raises:
        LesionflowError: as `build_features`, or a class has fewer groups than there are folds.
    """
    with ONE_AT_A_TIME:
        settings, labels = _start(root, threads), LabelSet.load()
        cache = load_cache(settings)
        dealt = next(islice(deal(cache.images, settings.cross_validation, settings.seed), at, None))
        fold_result(cache, dealt, labels, settings, FoldResults.of_settings(cache.identity, settings, labels))


def run_trials(root: Path, threads: int, on_line: Callable[[str], None]) -> None:
    """Try settings until the studies have as many trials as `tuning` wants, together with whoever else works on them.

    Args:
        root, threads: as for `build_features`.
        on_line: called with a line about each trial that ended here.

    Raises:
        LesionflowError: as `build_features`, or the studies' database does not respond.
    """
    with ONE_AT_A_TIME:
        settings, labels = _start(root, threads), LabelSet.load()
        search_levels(load_cache(settings), labels, settings, lambda searched, trial: on_line(searched.line(trial)))


def _start(root: Path, threads: int) -> Settings:
    os.chdir(root)
    os.environ[THREADS] = str(threads)
    load_tensorflow()
    return load()
