"""Standard output and error of the process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silence_stream(number: int) -> Iterator[None]:
    """Redirect the file descriptor of standard output (1) or error (2) to /dev/null, for libraries that write from C++."""
    kept, null = os.dup(number), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    try:
        yield
    finally:
        os.dup2(kept, number)
        os.close(kept)
        os.close(null)
