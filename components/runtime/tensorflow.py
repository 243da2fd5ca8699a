"""Imports TensorFlow without unneeded packages and without its startup messages, on all cores or some."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from components.core.errors import LesionflowError
from components.runtime.environment import THREADS
from components.runtime.streams import silence_stream

UNUSED_BY_KERAS = ("sklearn", "matplotlib")
"""Packages that Keras imports, if they are installed, for features this project does not use; they take a third of its import time."""


def load_tensorflow() -> None:
    """Import TensorFlow without its messages about CPUs and CUDA; import errors are still raised.

    Raises:
        LesionflowError: THREADS is not a number of threads, or TensorFlow already runs with another one in this process.
    """
    threads = thread_count() if THREADS in os.environ else None
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow then reuses memory between tensors instead of returning it. Without transparent huge pages in the kernel, page faults
    # took 45 % of the time (with it, prediction is 1.8 times and training 1.25 times as fast).
    os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "true")
    with silence_stream(2), block_imports(UNUSED_BY_KERAS):
        import keras  # noqa: F401
        import tensorflow  # noqa: F401
    if threads:
        _bind(threads)


def _bind(threads: int) -> None:
    from tensorflow.config import threading

    try:
        threading.set_intra_op_parallelism_threads(threads)
        threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:
        raise LesionflowError(f"TensorFlow already runs with another number of threads than {threads} in this process.") from None


def thread_count() -> int:
    """The number of TensorFlow's threads.

    Raises:
        LesionflowError: THREADS is not a number of threads.
    """
    given = os.environ.get(THREADS)
    if given is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not given.isdecimal() or int(given) < 1:
        raise LesionflowError(f"{THREADS} is {given}; it must be a whole number from 1 up.")
    return int(given)


@contextmanager
def block_imports(names: Sequence[str]) -> Iterator[None]:
    """Make imports of these packages fail within the body, unless they are already imported; afterwards they work again."""
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None marks a module that cannot be imported
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
