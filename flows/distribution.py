"""Shares the folds of a cross-validation, or a search, among processes: of Prefect's pool on this machine, or of a Dask cluster.

The processes meet in the project's folder and in the study's database. Only paths and numbers pass through the scheduler.
"""

import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import CrashedRun
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner
from prefect.tasks import Task

from components.core.errors import LesionflowError, first_line
from components.runtime.environment import THREADS
from components.runtime.parallel import CORES, end_with_parent
from flows.artifacts import Progress
from flows.processes import ROOT, CommandFailed

DASK = "DASK_SCHEDULER_ADDRESS"
"""Environment variable with the address of a Dask cluster's scheduler."""
ROUNDS = 3
"""Times that work is submitted, if a process is killed in each."""


@task(task_run_name="features", cache_policy=NO_CACHE)
def build_features(root: Path, threads: int) -> None:
    """Render and embed the images, in a worker process."""
    from components.search import worker

    worker.build_features(root, threads)


@task(task_run_name="fold {at}", cache_policy=NO_CACHE)
def compute_fold(root: Path, threads: int, at: int) -> None:
    """Train and predict one fold, in a worker process."""
    from components.search import worker

    worker.compute_fold(root, threads, at)


@task(task_run_name="trials {at}", cache_policy=NO_CACHE)
def run_trials(root: Path, threads: int, at: int) -> None:
    """Try settings together with the others, in a worker process; `at`: its number."""
    from components.search import worker

    worker.run_trials(root, threads, Progress(f"trials-{at}"))


@dataclass(frozen=True)
class Workers:
    """`count` processes with `threads` threads of TensorFlow each; `cluster`: they are the workers of a Dask cluster. Without any,
    the command that a flow runs at the end does all the work."""

    count: int
    threads: int
    cluster: bool

    @classmethod
    def requested(cls, workers: int, threads: int, cluster: bool) -> "Workers":
        """The workers that a flow is asked for.

        Args:
            workers: number of processes; 0: none. With DASK set, those of that cluster are taken.
            threads: of each; 0 for the cores of this machine divided by the processes.
            cluster: start a Dask cluster of as many workers on this machine.

        Raises:
            CommandFailed: the extra `cluster` is not installed, or the cluster has no workers.
        """
        if os.environ.get(DASK):
            workers, cluster = _cluster_size(os.environ[DASK]), True
        return cls(workers, threads or max(1, CORES // max(1, workers)), cluster)

    @property
    def environment(self) -> dict[str, str]:
        """Variable with which a command computes as these processes do."""
        return {THREADS: str(self.threads)} if self.count else {}

    def runner(self) -> TaskRunner[Any]:
        """The task runner of Prefect that has these processes."""
        if not self.cluster:
            return ProcessPoolTaskRunner(max_workers=self.count, initializer=end_with_parent)
        dask_task_runner = _prefect_dask().DaskTaskRunner
        if address := os.environ.get(DASK):
            return dask_task_runner(address=address)
        kwargs = {"n_workers": self.count, "threads_per_worker": 1, "dashboard_address": None}
        return dask_task_runner(cluster_class="distributed.LocalCluster", cluster_kwargs=kwargs)

    def run(self, work: Task[..., None], positions: Sequence[int]) -> None:
        """Build the features in one process, then call a task with each position on all of them; without processes, do nothing.

        What a killed process lost is submitted again, to new processes: tasks find what is done already.

        Raises:
            CommandFailed: a task failed, or processes were killed in ROUNDS rounds.
        """
        if not self.count:
            return
        given: Mapping[str, Any] = {"root": ROOT, "threads": self.threads}
        calls: list[Mapping[str, Any]] = [{**given, "at": at} for at in positions]
        for number in range(1, ROUNDS + 1):
            with _ending_at_once(), self.runner() as runner:
                if not _lost(runner, build_features, [given]):
                    calls = _lost(runner, work, calls)
            if not calls:
                return
            get_run_logger().warning(f"a process was killed in round {number} of {ROUNDS}: {len(calls)} tasks are submitted again")
        raise CommandFailed(f"{work.name}: processes were killed in {ROUNDS} rounds. Is there memory for {self.count} of them at once?")


def _lost(runner: TaskRunner[Any], work: Task[..., None], calls: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Submit the calls and wait for all; return those whose process was killed.

    Raises:
        CommandFailed: a task failed.
    """
    futures = [runner.submit(work, dict(call)) for call in calls]
    return [call for call, future in zip(calls, futures, strict=True) if _is_lost(future)]


def _is_lost(future: Any) -> bool:
    """Wait for a task; return whether its process was killed.

    Raises:
        CommandFailed: the task failed.
    """
    try:
        future.result()
    except LesionflowError as fault:
        raise CommandFailed(str(fault)) from None
    except (BrokenProcessPool, CrashedRun):
        return True
    except Exception as fault:
        if "deserialization" in str(fault):
            raise CommandFailed(
                "the Dask scheduler or a worker cannot import this project: start them with PYTHONPATH set to its folder, and with the"
                " packages of requirements.lock."
            ) from None
        if type(fault).__module__.partition(".")[0] != "distributed":
            raise
        if type(fault).__name__ != "KilledWorker":
            raise CommandFailed(f"Dask: {first_line(fault)} Start the flow again when a scheduler runs; it goes on where it was.") from None
        return True
    return False


@contextmanager
def _ending_at_once() -> Iterator[None]:
    """Kill the processes that were started in the block if it is interrupted, instead of waiting until each has finished its task."""
    try:
        yield
    except BaseException:
        for process in multiprocessing.active_children():
            process.kill()
        raise


def _cluster_size(address: str) -> int:
    _prefect_dask()
    from distributed import Client

    try:
        with Client(address, timeout=30) as client:
            count = len(client.scheduler_info(n_workers=-1)["workers"])
    except OSError as fault:
        raise CommandFailed(f"no Dask scheduler responds at {address} ({DASK}): {fault}") from None
    if not count:
        raise CommandFailed(f"the Dask cluster at {address} ({DASK}) has no workers. Start some: dask worker {address} --nthreads 1")
    return count


def _prefect_dask() -> Any:
    try:
        import prefect_dask
    except ImportError:
        raise CommandFailed(
            "a Dask cluster needs more packages. Run `pip install prefect-dask distributed`, or install the extra `cluster`."
        ) from None
    return prefect_dask
