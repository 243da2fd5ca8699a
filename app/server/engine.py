"""Computes answers on a fixed number of threads with the loaded version, which can be replaced while requests run."""

import asyncio
import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from app.models.lookup import FoundVersion
from components.core.errors import LesionflowError
from components.serving.answers import Contract
from components.serving.loading import ServedPredictor, load_folder

T = TypeVar("T")


class Busy(LesionflowError):
    """More requests wait than may; the client should try again later."""


class NotReady(LesionflowError):
    """No version is loaded yet."""


@dataclass(frozen=True)
class Loaded:
    """A version that answers.

    Attributes:
        found: which it is, and where its files are.
        contract: what it promises.
        predictors: the idle ones, one for each thread.
    """

    found: FoundVersion
    contract: Contract
    predictors: "queue.SimpleQueue[ServedPredictor]" = field(repr=False)


class Engine:
    """Computes with the loaded version. Methods may be called from any thread but `run`, which is called from the event loop.

    Args:
        threads: number of jobs that run at a time.
        waiting: number of jobs that may wait.
    """

    def __init__(self, threads: int, waiting: int) -> None:
        self.threads = threads
        self._limit = threads + waiting
        self._accepted = 0
        self._loaded: Loaded | None = None
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="predict")

    @property
    def loaded(self) -> Loaded | None:
        """The version that answers now."""
        return self._loaded

    def load(self, found: FoundVersion) -> None:
        """Load a version and answer with it from now on. Running jobs end with the version that they began with.

        Raises:
            LesionflowError: it cannot be loaded, or has no index or export; the former version stays.
        """
        predictors: queue.SimpleQueue[ServedPredictor] = queue.SimpleQueue()
        for _ in range(self.threads):
            predictor = load_folder(found.folder, f"version {found.number} of {found.model}")
            if not isinstance(predictor, ServedPredictor):
                raise LesionflowError(f"version {found.number} of {found.model} was registered by an older release and cannot be served.")
            predictors.put(predictor)
        self._loaded = Loaded(found, predictor.contract, predictors)

    async def run(self, work: Callable[[ServedPredictor], T]) -> tuple[Loaded, T]:
        """Run work with a predictor of the loaded version on a thread.

        Returns:
            The version that computed it, and the result.

        Raises:
            NotReady: no version is loaded.
            Busy: too many jobs wait.
        """
        loaded = self._loaded
        if loaded is None:
            raise NotReady("no version is loaded yet")
        if self._accepted >= self._limit:
            raise Busy("too many requests wait; try again later")
        self._accepted += 1
        try:
            return loaded, await asyncio.get_running_loop().run_in_executor(self._pool, partial(_compute, loaded, work))
        finally:
            self._accepted -= 1

    def close(self) -> None:
        """Wait for running jobs and end the threads."""
        self._pool.shutdown()


def _compute(loaded: Loaded, work: Callable[[ServedPredictor], T]) -> T:
    predictor = loaded.predictors.get()
    try:
        return work(predictor)
    finally:
        loaded.predictors.put(predictor)
