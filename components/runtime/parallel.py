"""Bounded work in processes that end with the stage, even where it is killed."""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from typing import TypeVar

CORES = os.cpu_count() or 1
AHEAD = 4 * CORES
"""Items under way at once: enough that no core waits, few enough to be done with soon when the stage is interrupted."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def streamed(pool: Executor, work: Callable[[Item], Iterable[Result]], items: Sequence[Item]) -> Iterator[Result]:
    """What `work` returns for each item, one by one in the items' order, with at most AHEAD items under way in the pool."""
    under_way: deque[Future[Iterable[Result]]] = deque()
    for item in items:
        if len(under_way) == AHEAD:
            yield from under_way.popleft().result()
        under_way.append(pool.submit(work, item))
    while under_way:
        yield from under_way.popleft().result()


def workers(module: str, count: int = CORES) -> ProcessPoolExecutor:
    """Processes forked from one that has imported `module`, which must not import TensorFlow: a fork may hang on its threads."""
    context = get_context("forkserver")
    context.set_forkserver_preload([module])
    return ProcessPoolExecutor(count, context, initializer=follow_parent)


def follow_parent() -> None:
    """Leave Ctrl-C to the stage's process to act on, and end when it ends, even where it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stage = parent_process()
    if stage is None:
        raise RuntimeError("only a process that multiprocessing started has a parent to follow")

    def end_with_stage() -> None:
        stage.join()
        os._exit(1)

    threading.Thread(target=end_with_stage, daemon=True).start()
