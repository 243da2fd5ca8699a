"""Measure `lesionflow predict FOLDER` against its predictor alone: rate, peak memory, and the time to the first answer.

    python -m benchmarks.predict_folder [--images N] [--version VERSION] [FOLDER]

Copies of the images of a folder (default: data/) are predicted by the command in a process of its own, N and N/4 of them, and by one
predictor in this process, whose bytes are in memory. Run it from the project's root, where a version is registered.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from app.models import served_version
from benchmarks.harness import machine, tables
from components.core.paths import DATA
from components.imaging.images import SUFFIXES
from components.runtime import params_file

NAME = "predict_folder"
RATE, MEMORY, FIRST = tables.Target(0.8), tables.Target(1.05, most=True), tables.Target(3.0, most=True)
"""Required rate of the command by that of its predictor, peak memory at N by that at N/4, and seconds to the first answer."""
MEGABYTE = 2**20
WARM = 20


@dataclass(frozen=True)
class Command:
    """One run of the command.

    Attributes:
        images: number of images.
        first: seconds from the start of the process to the first answer.
        seconds: to its end.
        peak_mb: largest resident memory.
    """

    images: int
    first: float
    seconds: float
    peak_mb: float

    @property
    def rate(self) -> float:
        """Images per second after the first answer."""
        return (self.images - 1) / (self.seconds - self.first)


def main() -> None:
    """Measure, print a table, and write it under benchmarks/results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=DATA, metavar="FOLDER")
    parser.add_argument("--images", type=int, default=2000, metavar="N", help="number of images (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds whose median is taken (default: %(default)s)")
    parser.add_argument("--version", default="champion", help="alias or number (default: %(default)s)")
    given = parser.parse_args()
    sources = [path for path in sorted(given.folder.rglob("*")) if path.suffix.lower() in SUFFIXES]
    if not sources or given.images < 8:
        parser.error(f"{given.folder}/ holds no image, or --images is below 8")
    described = machine.describe()
    with tempfile.TemporaryDirectory() as place:
        many, few = (copies(sources, count, Path(place) / str(count)) for count in (given.images, given.images // 4))
        rounds = [measured(many, few, given.version) for _ in range(given.rounds)]
    document = {"machine": described, "images": given.images, "rounds": rounds}
    text = report(document)
    print(f"{text}\n\nwritten to {machine.write(NAME, document, report=text)} and .md")


def copies(sources: list[Path], count: int, folder: Path) -> Path:
    """Fill a folder with this many images, each a file of its own."""
    folder.mkdir()
    for number, source in enumerate(islice(cycle(sources), count)):
        shutil.copyfile(source, folder / f"{number:06}{source.suffix}")
    return folder


def measured(many: Path, few: Path, version: str) -> dict[str, float]:
    """The figures of one round."""
    large, small = run_command(many, version), run_command(few, version)
    alone = predictor_rate(many, version)
    return {
        "command_per_second": large.rate,
        "predictor_per_second": alone,
        "first_answer_seconds": statistics.median((large.first, small.first)),
        "peak_mb": large.peak_mb,
        "peak_mb_of_a_quarter": small.peak_mb,
    }


def run_command(folder: Path, version: str) -> Command:
    """Run the command on a folder, in a process of its own."""
    start = time.perf_counter()
    arguments = ["predict", "--format", "jsonl", "--version", version, str(folder)]
    process = subprocess.Popen([sys.executable, "-m", "app.cli", *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    process.stdout.readline()
    first = time.perf_counter() - start
    images = 1 + sum(1 for _ in process.stdout)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if images < 2 or process.returncode not in (0, 3):
        raise SystemExit(f"error: `lesionflow {' '.join(arguments)}` ended with exit code {process.returncode} after {images} rows")
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / MEGABYTE
    return Command(images, first, time.perf_counter() - start, peak)


def predictor_rate(folder: Path, version: str) -> float:
    """Images per second of one predictor in this process, on bytes in memory."""
    predictor = served_version.load(params_file.load().registration.registered_model, version).predictor()
    contents = [path.read_bytes() for path in sorted(folder.iterdir())]
    for content in contents[:WARM]:
        predictor.predict(content)
    start = time.perf_counter()
    for content in contents:
        predictor.predict(content)
    return len(contents) / (time.perf_counter() - start)


def report(document: dict[str, Any]) -> str:
    """The results as a table."""
    rounds = document["rounds"]

    def median_of(name: str) -> float:
        return statistics.median(found[name] for found in rounds)

    rate = statistics.median(found["command_per_second"] / found["predictor_per_second"] for found in rounds)
    memory = statistics.median(found["peak_mb"] / found["peak_mb_of_a_quarter"] for found in rounds)
    first = median_of("first_answer_seconds")
    lines = [
        ["images per second, command", f"{median_of('command_per_second'):.1f}", "", ""],
        ["images per second, predictor alone", f"{median_of('predictor_per_second'):.1f}", "", ""],
        ["command by predictor", f"{rate:.2f}", str(RATE), RATE.verdict(rate)],
        ["peak MB", f"{median_of('peak_mb'):.0f}", "", ""],
        ["peak MB by that of a quarter of the images", f"{memory:.3f}", str(MEMORY), MEMORY.verdict(memory)],
        ["seconds to the first answer", f"{first:.2f}", str(FIRST), FIRST.verdict(first)],
    ]
    said = f"{document['images']} images, medians of {len(rounds)} rounds, on {document['machine']}"
    return f"{said}\n\n{tables.table(['lesionflow predict FOLDER', 'measured', 'target', ''], lines)}"


if __name__ == "__main__":
    main()
