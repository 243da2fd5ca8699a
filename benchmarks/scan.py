"""The rate of scanning against the rate of merely decoding, memory, and what a second scan costs.

    python benchmarks/scan.py FOLDER

Both run on every core, in blocks of the same size, from files that were read once before. Decoding alone is measured twice: as far
as Pillow's `load`, which leaves the pixels inside Pillow, and as far as an RGB array.
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

import machine
import numpy as np
from PIL import Image

from components import scan
from components.images import SUFFIXES

ROUNDS = 3


def load(root: Path, names: Sequence[str]) -> int:
    for name in names:
        Image.open(io.BytesIO((root / name).read_bytes())).load()
    return len(names)


def as_array(root: Path, names: Sequence[str]) -> int:
    return sum(np.asarray(Image.open(io.BytesIO((root / name).read_bytes())).convert("RGB")).shape[2] for name in names)


def decoded(work: Callable[[Path, Sequence[str]], int], root: Path, names: list[str]) -> float:
    """Images a second."""
    blocks = [names[start : start + scan.BLOCK] for start in range(0, len(names), scan.BLOCK)]
    start = time.perf_counter()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(partial(work, root), blocks))
    return len(names) / (time.perf_counter() - start)


def scanned(root: Path, names: list[str], cache: Path) -> tuple[float, int]:
    """Images a second, and how many were decoded."""
    start = time.perf_counter()
    found = scan.scan(root, names, cache)
    return len(names) / (time.perf_counter() - start), found.decoded


class PeakMemory:
    """The largest sum of the memory of this process and its children, in MB, looked at every 20 ms."""

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
                    continue  # it has just ended
            self.megabytes = max(self.megabytes, pages * resource.getpagesize() / 2**20)


def main() -> None:
    root = Path(sys.argv[1])
    described = machine.described()
    print(described)
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    load(root, names)
    rows: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS):
            cache = Path(folder) / str(number)
            row = {"load": decoded(load, root, names), "array": decoded(as_array, root, names)}
            with PeakMemory() as memory:
                row["scan"], _ = scanned(root, names[:-10], cache)
            row |= {"memory": memory.megabytes, "scan over load": row["scan"] / row["load"], "scan over array": row["scan"] / row["array"]}
            row["ten more"], row["decoded anew"] = scanned(root, names, cache)
            rows.append(row)
            print(f"  {', '.join(f'{name} {value:.2f}' for name, value in row.items())}")
    best = {name: float(np.median([row[name] for row in rows])) for name in rows[0]}
    print(f"\n{len(names)} images of {root.name}, median of {ROUNDS} rounds")
    print(f"  Pillow's load alone           {best['load']:>8.0f} images/s")
    print(f"  decoded to an RGB array       {best['array']:>8.0f} images/s")
    print(
        f"  scanned                       {best['scan']:>8.0f} images/s: {best['scan over load']:.2f} and {best['scan over array']:.2f} of these"
    )
    print(f"  memory of all processes       {best['memory']:>8.0f} MB at most")
    print(f"  again, with ten more          {best['ten more']:>8.0f} images/s, {best['decoded anew']:.0f} decoded anew")
    print(f"written to {machine.write('scan', {'machine': described, 'images': len(names), 'rounds': rows, 'median': best})}")


if __name__ == "__main__":
    main()
