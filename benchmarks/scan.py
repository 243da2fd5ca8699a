"""Measure the rate of scanning relative to decoding only, memory, and the cost of a second scan.

    python -m benchmarks.scan FOLDER

Both run on all cores, in blocks of the same size, from files in the page cache. Decoding is measured up to Pillow's `load`, which keeps
the pixels inside Pillow, and up to an RGB array. CPU time is reported too, since other load on the machine affects it less.
"""

import io
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.harness import machine
from components.data_quality import scan
from components.imaging.images import SUFFIXES

ROUNDS = 3


def load(root: Path, names: Sequence[str]) -> int:
    for name in names:
        Image.open(io.BytesIO((root / name).read_bytes())).load()
    return len(names)


def as_array(root: Path, names: Sequence[str]) -> int:
    return sum(np.asarray(Image.open(io.BytesIO((root / name).read_bytes())).convert("RGB")).shape[2] for name in names)


def processor_seconds() -> float:
    """CPU seconds of this process and its ended children."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def timed(work: Callable[[], object], count: int) -> tuple[float, float]:
    """Images per second, and CPU microseconds per image."""
    start, used = time.perf_counter(), processor_seconds()
    work()
    return count / (time.perf_counter() - start), 1e6 * (processor_seconds() - used) / count


def decode_all(work: Callable[[Path, Sequence[str]], int], root: Path, names: list[str]) -> None:
    blocks = [names[start : start + scan.BLOCK_SIZE] for start in range(0, len(names), scan.BLOCK_SIZE)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(partial(work, root), blocks))


class PeakMemory:
    """Peak total memory of this process and its children, in MB, sampled every 20 ms."""

    def __enter__(self) -> "PeakMemory":
        self.megabytes, self._stop = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
            pages = 0
            for process in (str(os.getpid()), *children):
                try:
                    pages += int(Path(f"/proc/{process}/statm").read_text().split()[1])
                except (FileNotFoundError, ProcessLookupError):
                    continue  # the process has ended
            self.megabytes = max(self.megabytes, pages * resource.getpagesize() / 2**20)


def main() -> None:
    root = Path(sys.argv[1])
    described = machine.describe()
    print(described)
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    load(root, names)
    rows: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS):
            cache, row = Path(folder) / str(number), {}
            row["load"], row["load, us"] = timed(lambda: decode_all(load, root, names), len(names))
            row["array"], row["array, us"] = timed(lambda: decode_all(as_array, root, names), len(names))
            row["scan"], row["scan, us"] = timed(partial(scan.scan, root, names[:-10], cache), len(names))
            row["ten more"], _ = timed(partial(scan.scan, root, names, cache), len(names))
            row |= {f"scan over {name}": row["scan"] / row[name] for name in ("load", "array")}
            row |= {f"scan over {name}, processor": row[f"{name}, us"] / row["scan, us"] for name in ("load", "array")}
            rows.append(row)
        with PeakMemory() as memory:  # measured separately, since sampling takes time
            scan.scan(root, names[:-10], Path(folder) / "memory")
        decoded = scan.scan(root, names, Path(folder) / "memory").decoded
    best = {name: float(np.median([row[name] for row in rows])) for name in rows[0]}
    print(f"\n{len(names)} images of {root.name}, median of {ROUNDS} rounds    images/s    us of processor an image")
    for title, name in (("Pillow's load alone", "load"), ("decoded to an RGB array", "array"), ("scanned", "scan")):
        print(f"  {title:<46}{best[name]:>10.0f}{best[f'{name}, us']:>12.0f}")
    for name in ("load", "array"):
        print(f"  {f'scan over {name}':<46}{best[f'scan over {name}']:>10.2f}{best[f'scan over {name}, processor']:>12.2f}")
    print(f"  again, with ten more{best['ten more']:>36.0f}")
    print(f"  memory of all processes {memory.megabytes:.0f} MB at most; with ten more files, {decoded} were decoded")
    found = {"median": best, "memory": memory.megabytes, "decoded with ten more": decoded, "rounds": rows}
    print(f"written to {machine.write('scan', {'machine': described, 'images': len(names), **found})}")


if __name__ == "__main__":
    main()
