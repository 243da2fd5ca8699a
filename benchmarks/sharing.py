"""Measure what it gains to share a search and fine-tuned folds among processes: Dask's workers, Prefect's pool, and one process.

    python -m benchmarks.sharing [--trials N] [--folds N]

Works in a copy of this project, whose data were pulled. Every arrangement tries the same settings of the head on a study of its own and
fine-tunes the same folds, after the features were made. Times include the start of the processes, not that of Prefect's server. Values
of equal settings and numbers of threads are compared.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow

from benchmarks.harness import machine, tables
from components.core.label_set import LabelSet
from components.runtime import params_file
from components.runtime.environment import THREADS
from components.runtime.params import Settings
from components.runtime.tensorflow import load_tensorflow
from components.search.fold_cache import load_cache
from components.search.fold_results import FoldResults
from components.search.folds import deal
from components.search.levels import head_level
from components.search.study import ended_trials, open_study, study_name
from components.search.study_database import VARIABLE as STUDY_URL
from flows import workspace
from flows.distribution import Workers, compute_fold, run_trials
from flows.immediate_run import with_own_server
from flows.processes import ROOT

if TYPE_CHECKING:
    import optuna

NAME = "sharing"
COPY = Path(".prefect/benchmark_sharing")
STUDY, RUNS = Path("build/tuning/sharing.db"), Path("build/tuning/sharing_runs.db")
FOLDS = Path("build/cv/folds")


@dataclass(frozen=True)
class Arrangement:
    """Processes that share the work; `count` 0: the command alone, without Prefect."""

    name: str
    count: int
    threads: int
    cluster: bool = False


ARRANGEMENTS = (
    Arrangement("one process, two threads", 0, 2),
    Arrangement("one Dask worker, one thread", 1, 1, cluster=True),
    Arrangement("two Dask workers, one thread each", 2, 1, cluster=True),
    Arrangement("two processes of Prefect's pool, one thread each", 2, 1),
)


def main() -> None:
    """Measure, print a table, and write it under benchmarks/results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20, help="settings of the head (default: %(default)s)")
    parser.add_argument("--folds", type=int, default=4, help="fine-tuned folds (default: %(default)s)")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not os.environ.get("PREFECT_API_URL"):
        raise SystemExit(with_own_server([sys.executable, *sys.orig_argv[1:]]))
    if given.measure:
        work, position = given.measure
        print(json.dumps(shared(work, ARRANGEMENTS[int(position)], given.trials, given.folds)))
        return
    described = machine.describe()
    root = prepared_copy(given.trials, given.folds)
    rounds = [
        {"work": work, "arrangement": number, **measured(root, work, number, given)}
        for work in ("trials", "folds")
        for number in range(len(ARRANGEMENTS))
    ]
    document = {"machine": described, "trials": given.trials, "folds": given.folds, "rounds": rounds}
    text = report(document)
    print(f"{text}\n\nwritten to {machine.write(NAME, document, report=text)} and .md")


def prepared_copy(trials: int, folds: int) -> Path:
    """A copy of the project with its own params, its split and its features."""
    root = workspace.copy_worktree(place=COPY)
    changes = [f"tuning.trials={trials}", f"cross_validation.folds={folds}", "cross_validation.phase=finetuned"]
    workspace.set_params(root / "params.yaml", changes)
    run(root, "-m", "dvc", "pull", "--quiet", "data.dvc", "weights.dvc")
    run(root, "-m", "dvc", "repro", "--quiet", "augment")
    return root


def measured(root: Path, work: str, number: int, given: argparse.Namespace) -> dict[str, Any]:
    """What `shared` returns for an arrangement, from a process in the copy."""
    print(f"{work}: {ARRANGEMENTS[number].name}", flush=True)
    done = run(root, "-m", "benchmarks.sharing", "--trials", str(given.trials), "--folds", str(given.folds), "--measure", work, str(number))
    return dict(json.loads(done.splitlines()[-1]))


def run(root: Path, *arguments: str, **variables: str) -> str:
    """Standard output of a Python command in the copy."""
    environment = {**os.environ, "PYTHONPATH": str(root), **variables}
    return subprocess.run([sys.executable, *arguments], cwd=root, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def shared(work: str, arrangement: Arrangement, trials: int, folds: int) -> dict[str, Any]:
    """Do the work from the start, with the features there; return its seconds and the values that it gave."""
    os.environ |= {STUDY_URL: f"sqlite:///{STUDY}", "MLFLOW_TRACKING_URI": f"sqlite:///{RUNS}", THREADS: str(arrangement.threads)}
    shutil.rmtree(FOLDS, ignore_errors=True)
    STUDY.parent.mkdir(parents=True, exist_ok=True)
    STUDY.unlink(missing_ok=True)
    load_tensorflow()
    settings, labels = params_file.load(), LabelSet.load()
    cache, level = load_cache(settings), head_level(settings)
    name = study_name(cache.identity, labels, settings, level)
    if work == "trials":
        enqueue(open_study(name, settings, level), settings, trials)
    seconds = by_workers(work, arrangement, folds) if arrangement.count else alone(work)
    if work == "trials":
        study = open_study(name, settings, level)
        return {"seconds": seconds, "values": {json.dumps(trial.params, sort_keys=True): trial.value for trial in ended_trials(study)}}
    results, dealt = FoldResults.of_settings(cache.identity, settings, labels), deal(cache.images, settings.cross_validation, settings.seed)
    held_out = [results.read(fold.repeat, fold.number) for fold in dealt]
    return {"seconds": seconds, "values": {found.number: found.held_out.probabilities.sum(axis=0).tolist() for found in held_out if found}}


def enqueue(study: "optuna.Study", settings: Settings, trials: int) -> None:
    """Have the study try settings drawn from the space with one seed, behind the present one."""
    import optuna

    drawn = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=settings.seed))
    for _ in range(trials - 1):
        trial = drawn.ask()
        head_level(settings).suggest(trial)
        study.enqueue_trial(trial.params)


def alone(work: str) -> float:
    """Seconds of the command itself."""
    started = time.perf_counter()
    run(ROOT, "-m", "components.tune" if work == "trials" else "components.cross_validate")
    return time.perf_counter() - started


def by_workers(work: str, arrangement: Arrangement, folds: int) -> float:
    """Seconds of processes that share the work, from their start to their end."""
    workers = Workers(arrangement.count, arrangement.threads, arrangement.cluster)

    @flow
    def sharing() -> float:
        started = time.perf_counter()
        if work == "trials":
            workers.run(run_trials, range(workers.count))
        else:
            workers.run(compute_fold, range(folds))
        return time.perf_counter() - started

    return sharing()


def report(document: dict[str, Any]) -> str:
    """The table, and whether equal settings gave equal values."""
    rounds = document["rounds"]
    rows = []
    for work in ("trials", "folds"):
        of_work = [row for row in rounds if row["work"] == work]
        first = of_work[0]["seconds"]
        what = f"{document[work]} {'settings of the head' if work == 'trials' else 'fine-tuned folds'}"
        rows += [
            [f"{what}, {ARRANGEMENTS[row['arrangement']].name}", f"{row['seconds']:.0f}", f"{first / row['seconds']:.2f}"]
            for row in of_work
        ]
    table = tables.table(["work", "seconds", "times as fast"], rows)
    return f"Machine: {document['machine']}\n\n{table}\n\n{agreement(rounds)}"


def agreement(rounds: Sequence[dict[str, Any]]) -> str:
    """How many values of equal work and number of threads are equal wherever they were computed."""
    equal = compared = 0
    for work in ("trials", "folds"):
        of_one_thread = [row["values"] for row in rounds if row["work"] == work and ARRANGEMENTS[row["arrangement"]].threads == 1]
        for key in set.intersection(*({key for key, value in values.items() if value is not None} for values in of_one_thread)):
            compared += 1
            equal += all(values[key] == of_one_thread[0][key] for values in of_one_thread)
    return f"{equal} of {compared} values with one thread are equal in all arrangements."


if __name__ == "__main__":
    main()
