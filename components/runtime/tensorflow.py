"""Imports TensorFlow without unneeded packages and without its startup messages."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from components.runtime.streams import silence_stream

UNUSED_BY_KERAS = ("sklearn", "matplotlib")
"""Packages that Keras imports, if they are installed, for features this project does not use; they take a third of its import time."""


def load_tensorflow() -> None:
    """Import TensorFlow without its messages about CPUs and CUDA; import errors are still raised."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow then reuses memory between tensors instead of returning it. Without transparent huge pages in the kernel, page faults
    # took 45 % of the time (with it, prediction is 1.8 times and training 1.25 times as fast).
    os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "true")
    with silence_stream(2), block_imports(UNUSED_BY_KERAS):
        import keras  # noqa: F401
        import tensorflow  # noqa: F401


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
