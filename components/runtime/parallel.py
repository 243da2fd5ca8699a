"""Worker processes with a bounded queue that end with the stage, even if it is killed."""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import current_process, get_context, parent_process
from typing import TypeVar

CORES = os.cpu_count() or 1
AHEAD = 4 * CORES
"""Items submitted at once: enough to keep all cores busy, few enough to finish quickly when the stage is interrupted."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def stream_map(pool: Executor, work: Callable[[Item], Iterable[Result]], items: Iterable[Item]) -> Iterator[Result]:
    """Yield the results of `work` for all items in the items' order, with at most AHEAD items submitted to the pool."""
    under_way: deque[Future[Iterable[Result]]] = deque()
    for item in items:
        if len(under_way) == AHEAD:
            yield from under_way.popleft().result()
        under_way.append(pool.submit(work, item))
    while under_way:
        yield from under_way.popleft().result()


def workers(module: str, count: int = CORES) -> Executor:
    """Pool of processes forked from one that has imported `module`, which must not import TensorFlow: its threads can deadlock a fork.

    In a daemonic process, such as a worker of Dask, which may not start processes, it is a thread.
    """
    if current_process().daemon:
        return ThreadPoolExecutor(1)
    context = get_context("forkserver")
    context.set_forkserver_preload([module])
    return ProcessPoolExecutor(count, context, initializer=follow_parent)


def follow_parent() -> None:
    """Ignore Ctrl-C, which the stage's process handles, and exit when that process ends, even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def end_with_parent() -> None:
    """Exit when the process ends that started this one, even if it is killed."""
    parent = parent_process()
    if parent is None:
        raise RuntimeError("end_with_parent must be called in a process started by multiprocessing")

    def end() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()
