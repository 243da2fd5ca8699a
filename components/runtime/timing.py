"""Measures the seconds that a stage spends per activity, such as imports and MLflow."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

seconds: defaultdict[str, float] = defaultdict(float)
"""Elapsed wall seconds of this process by activity."""
OVERHEAD = ("imports", "MLflow")
"""Activities reported as overhead."""


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Add the seconds that the body takes to the activity `what`."""
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[what] += time.perf_counter() - start
