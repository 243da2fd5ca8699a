"""Computes answers on a fixed number of threads with the loaded version, which can be replaced while requests run."""

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

from app.models.lookup import FoundVersion
from app.server.version_loading import load_predictors
from components.core.errors import LesionflowError
from components.serving.answers import Contract
from components.serving.loading import ServedPredictor

T = TypeVar("T")

DEPARTURE: ContextVar[Callable[[], Awaitable[None]] | None] = ContextVar("departure", default=None)
"""In a request: a function that waits until its client has gone (departure.py)."""


class Busy(LesionflowError):
    """More requests wait than may; the client should try again later."""


class NotReady(LesionflowError):
    """No version is loaded yet."""


class ClientGone(asyncio.CancelledError):
    """The client of a request has closed its connection, so the request is cancelled; `Departure` ends it quietly."""


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

    Jobs run in the order in which they came.

    Args:
        threads: number of jobs that run at a time.
        waiting: number of jobs that may wait.
    """

    def __init__(self, threads: int, waiting: int) -> None:
        self.threads = threads
        self._limit = threads + waiting
        self._accepted = 0
        self._lock = threading.Lock()
        self._loaded: Loaded | None = None
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="predict")

    @property
    def loaded(self) -> Loaded | None:
        """The version that answers now."""
        return self._loaded

    @property
    def running(self) -> int:
        """Number of jobs that run."""
        return min(self._accepted, self.threads)

    @property
    def waiting(self) -> int:
        """Number of jobs that wait for a thread."""
        return max(0, self._accepted - self.threads)

    def load(self, found: FoundVersion) -> None:
        """Load a version and answer with it from now on. Running jobs end with the version that they began with.

        Raises:
            LesionflowError: it cannot be loaded, or has no index or export; the former version stays.
        """
        predictors: queue.SimpleQueue[ServedPredictor] = queue.SimpleQueue()
        loaded = load_predictors(found, self.threads)
        for predictor in loaded:
            predictors.put(predictor)
        self._loaded = Loaded(found, loaded[0].contract, predictors)

    async def run(self, work: Callable[[ServedPredictor], T]) -> tuple[Loaded, T]:
        """Run work with a predictor of the loaded version on a thread.

        Returns:
            The version that computed it, and the result.

        Raises:
            NotReady: no version is loaded.
            Busy: too many jobs wait.
            ClientGone: the client left while the job waited or ran. A job that waited is never run.
        """
        loaded = self._loaded
        if loaded is None:
            raise NotReady("no version is loaded yet")
        with self._lock:
            if self._accepted >= self._limit:
                raise Busy("too many requests wait; try again later")
            self._accepted += 1
        future = self._pool.submit(_compute, loaded, work)
        future.add_done_callback(self._count_done)
        job = asyncio.wrap_future(future)
        await _until_done_or_gone(job)
        return loaded, job.result()

    def _count_done(self, _future: "Future[T]") -> None:
        with self._lock:
            self._accepted -= 1

    def close(self) -> None:
        """Wait for running jobs and end the threads."""
        self._pool.shutdown(cancel_futures=True)


async def _until_done_or_gone(job: "asyncio.Future[T]") -> None:
    """Wait for a job, which is cancelled if the client goes or the request is cancelled."""
    departure = DEPARTURE.get()
    waits: list[asyncio.Future[None]] = [] if departure is None else [asyncio.ensure_future(departure())]
    events: list[asyncio.Future[Any]] = [job, *waits]
    try:
        await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
        if not job.done():
            raise ClientGone
    finally:
        job.cancel()
        for wait in waits:
            wait.cancel()


def _compute(loaded: Loaded, work: Callable[[ServedPredictor], T]) -> T:
    predictor = loaded.predictors.get()
    try:
        return work(predictor)
    finally:
        loaded.predictors.put(predictor)
