"""Measure `lesionflow serve` against its predictor called in process on the same bytes.

    python -m benchmarks.serving [--seconds S] [--rounds N] [--version VERSION]
    python -m benchmarks.serving --soak MINUTES
    python -m benchmarks.serving --move

Without an option: one image, its parts in process and by /v1/predict; 20 clients; images per processor second at saturation; start to
ready. --soak sends twice as much as the service can answer. --move moves the alias between two copies of the version under 20 clients,
in a copy of the store. Clients are in another process. Run it from the project's root, where a version is registered.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from app.models.lookup import find_version
from app.server.version_loading import load_predictors
from benchmarks.harness import machine, serving, tables
from benchmarks.harness.clients import Client
from benchmarks.harness.moving import moved_under_load
from components.core.paths import DATA
from components.imaging import images
from components.imaging.images import SUFFIXES
from components.imaging.symmetries import symmetric_views
from components.runtime import params_file
from components.serving.loading import ARTIFACTS
from components.serving.network import Network

NAME, SOAK, MOVE = "serving", "serving_soak", "serving_move"
SIZE = (600, 450)
PICTURES, WARM, CLIENTS = 16, 10, 20
RATIO, TAIL, RATE, START = tables.Target(1.5, True), tables.Target(3.0, True), tables.Target(0.8), tables.Target(3.0, True)
MEMORY = tables.Target(1.05, True)
TWICE = 2.0


def main() -> None:
    """Measure, print a table, and write it under benchmarks/results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20, help="of load (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=200, metavar="N", help="images one by one (default: %(default)s)")
    parser.add_argument("--version", default="champion", help="alias or number (default: %(default)s)")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="send twice as much as the service can answer")
    parser.add_argument("--move", action="store_true", help="move the alias under load")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = write_pictures(Path(place))
        if given.soak:
            name, document = SOAK, soak(folder, given.version, 60 * given.soak)
            text = soak_report(document)
        elif given.move:
            name, document = MOVE, {"machine": machine.describe(), **moved_under_load(folder, given.version, CLIENTS, given.seconds)}
            text = "\n".join(f"{key}: {value}" for key, value in document.items())
        else:
            name, document = NAME, measure(folder, given.version, given.rounds, given.seconds)
            text = report(document)
    print(f"{text}\n\nwritten to {machine.write(name, document, report=text)} and .md")


def write_pictures(folder: Path) -> Path:
    """Write JPEGs of SIZE, made of the first images of data/, or of noise where there are none; return the folder."""
    sources = [path for path in sorted(DATA.rglob("*")) if path.suffix.lower() in SUFFIXES]
    step = max(1, len(sources) // PICTURES)
    noise = np.random.default_rng(0).integers(0, 256, (PICTURES, 45, 60, 3), dtype=np.uint8)
    for number in range(PICTURES):
        taken = sources[number * step : number * step + 1]
        image = Image.open(taken[0]).convert("RGB") if taken else Image.fromarray(noise[number])
        image.resize(SIZE, Image.Resampling.BICUBIC).save(folder / f"{number:02}.jpg", quality=90)
    return folder


def measure(folder: Path, version: str, rounds: int, seconds: float) -> dict[str, Any]:
    """Measure all but the soak."""
    found = find_version(params_file.load().registration.registered_model, version)
    described = machine.describe()
    contents = [path.read_bytes() for path in sorted(folder.iterdir())]
    (predictor,) = load_predictors(found, 1)
    artifacts = found.folder / ARTIFACTS
    network = Network((artifacts / "export/server.tflite").read_bytes())
    resolution = predictor.predictor._resolution
    views = predictor.contract.views
    with serving.started("--version", version) as service:
        client = Client(service.url)
        pixels = [images.load_pixels(content, network.size, resolution) for content in contents]
        detail = images.required_detail(network.size, resolution)
        ways: dict[str, Callable[[int], object]] = {
            "decode": lambda number: images.decode(contents[number], detail),
            "decode and fit": lambda number: images.load_pixels(contents[number], network.size, resolution),
            "bare interpreter": lambda number: [network.run(view) for view in symmetric_views(pixels[number], views)],
            "predictor in process": lambda number: predictor.predict(contents[number]),
            "POST /v1/predict": lambda number: _ok(client, contents[number]),
        }
        spread = times(ways, rounds)
        loaded = serving.load(service, folder, CLIENTS, seconds)
        ready = service.ready_seconds
    return {
        "machine": described,
        "rounds": rounds,
        "views": views,
        "milliseconds": spread,
        "clients": {
            "number": CLIENTS,
            "median": statistics.median(loaded["milliseconds"]),
            "p99": float(np.percentile(loaded["milliseconds"], 99)),
            "answers": len(loaded["milliseconds"]),
            "statuses": loaded["statuses"],
            "per_processor_second": _all(loaded) / loaded["processor_seconds"],
            "per_second": len(loaded["milliseconds"]) / seconds,
        },
        "predictor_per_processor_second": processor_rate(lambda content: predictor.predict(content), contents, rounds),
        "ready_seconds": ready,
    }


def _all(loaded: dict[str, Any]) -> int:
    """Answers of a load with those that warmed the service, which its processor time contains too."""
    from benchmarks.harness.clients import WARM as EACH

    return len(loaded["milliseconds"]) + CLIENTS * EACH


def _ok(client: Client, content: bytes) -> None:
    status, _, body = client.predict(content, "image/jpeg")
    if status != 200:
        raise SystemExit(f"error: /v1/predict answered {status}: {body[:200]!r}")


def times(ways: dict[str, Callable[[int], object]], rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each way, the 10th, 50th and 90th percentile; each image goes through all ways in turn."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(-WARM, rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way(number % PICTURES)
            if number >= 0:
                taken[name].append(1000 * (time.perf_counter() - start))
    percentiles = {name: np.percentile(found, (10, 50, 90)) for name, found in taken.items()}
    return {name: dict(zip(("low", "median", "high"), map(float, found), strict=True)) for name, found in percentiles.items()}


def processor_rate(predict: Callable[[bytes], object], contents: list[bytes], rounds: int) -> float:
    """Images per processor second of this process."""
    start = time.process_time()
    for number in range(rounds):
        predict(contents[number % len(contents)])
    return rounds / (time.process_time() - start)


def report(document: dict[str, Any]) -> str:
    """The results as tables."""
    found, clients = document["milliseconds"], document["clients"]
    bare, alone = found["bare interpreter"]["median"], found["predictor in process"]["median"]
    rows = [
        [name, f"{ms['median']:.2f}", f"{ms['low']:.2f} to {ms['high']:.2f}", f"{ms['median'] / bare:.2f}", f"{ms['median'] / alone:.2f}"]
        for name, ms in found.items()
    ]
    head = ["one image", "median ms", "10th to 90th percentile", "of the interpreter", "of the predictor"]
    ratio = found["POST /v1/predict"]["median"] / alone
    tail = clients["p99"] / clients["median"]
    rate = clients["per_processor_second"] / document["predictor_per_processor_second"]
    lines = [
        ["/v1/predict by the predictor in process, medians", f"{ratio:.2f}", str(RATIO), RATIO.verdict(ratio)],
        [f"{clients['number']} clients: p99 by median", f"{tail:.2f}", str(TAIL), TAIL.verdict(tail)],
        [f"{clients['number']} clients: median and p99 in ms", f"{clients['median']:.1f}, {clients['p99']:.1f}", "", ""],
        [f"{clients['number']} clients: images per second", f"{clients['per_second']:.1f}", "", ""],
        ["images per processor second, service", f"{clients['per_processor_second']:.1f}", "", ""],
        ["images per processor second, predictor", f"{document['predictor_per_processor_second']:.1f}", "", ""],
        ["service by predictor", f"{rate:.2f}", str(RATE), RATE.verdict(rate)],
        ["seconds from start to ready", f"{document['ready_seconds']:.2f}", str(START), START.verdict(document["ready_seconds"])],
    ]
    said = f"{document['rounds']} JPEGs of {SIZE[0]} x {SIZE[1]}, {document['views']} views each, on {document['machine']}."
    return f"{said}\n\n{tables.table(head, rows)}\n\n{tables.table(['lesionflow serve', 'measured', 'target', ''], lines)}"


def soak(folder: Path, version: str, seconds: float) -> dict[str, Any]:
    """Send twice as much as the service answers, for a time."""
    described = machine.describe()
    with serving.started("--version", version) as service:
        full = serving.load(service, folder, CLIENTS, 10)
        rate = TWICE * len(full["milliseconds"]) / 10
        serving.load(service, folder, 4 * CLIENTS, 10, rate)
        with serving.memory_of(service) as memory:
            loaded = serving.load(service, folder, 4 * CLIENTS, seconds, rate)
    tenth = max(1, len(memory) // 10)
    return {
        "machine": described,
        "seconds": seconds,
        "sent_per_second": rate,
        "statuses": loaded["statuses"],
        "failures": loaded["failures"],
        "median_ms": statistics.median(loaded["milliseconds"]),
        "p99_ms": float(np.percentile(loaded["milliseconds"], 99)),
        "memory_mb": {"first_tenth": statistics.mean(memory[:tenth]), "last_tenth": statistics.mean(memory[-tenth:]), "most": max(memory)},
    }


def soak_report(document: dict[str, Any]) -> str:
    """The results of a soak as a table."""
    memory, statuses = document["memory_mb"], document["statuses"]
    growth = memory["last_tenth"] / memory["first_tenth"]
    others = sum(number for status, number in statuses.items() if status not in ("200", "503")) + sum(document["failures"].values())
    lines = [
        ["requests per second sent", f"{document['sent_per_second']:.1f}", "", ""],
        *([f"answers {status}", str(number), "", ""] for status, number in sorted(statuses.items())),
        ["other answers or none", str(others), "<= 0", tables.Target(0, True).verdict(others)],
        ["median and p99 of 200 in ms", f"{document['median_ms']:.0f}, {document['p99_ms']:.0f}", "", ""],
        ["memory in MB, first and last tenth", f"{memory['first_tenth']:.1f}, {memory['last_tenth']:.1f}", "", ""],
        ["memory of the last tenth by that of the first", f"{growth:.3f}", str(MEMORY), MEMORY.verdict(growth)],
    ]
    said = f"{document['seconds'] / 60:g} minutes at twice the saturating load, on {document['machine']}."
    return f"{said}\n\n{tables.table(['lesionflow serve', 'measured', 'target', ''], lines)}"


if __name__ == "__main__":
    main()
