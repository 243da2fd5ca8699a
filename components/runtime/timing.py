"""Seconds of a stage, with the parts that are not its own work: imports, MLflow, Great Expectations."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

seconds: defaultdict[str, float] = defaultdict(float)
"""Wall seconds of this process so far, by what they went to."""
PARTS = ("imports", "MLflow")
"""What of a stage's own work computes nothing."""


@contextmanager
def counted(what: str) -> Iterator[None]:
    """Add the seconds that the body takes to those of `what`."""
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[what] += time.perf_counter() - start
