"""Clients of the service, in a process of their own: they send images to /v1/predict and print what came back as JSON.

    python -m benchmarks.harness.clients URL FOLDER --clients N --seconds S [--rate R]

Each client has a connection of its own and sends the next request when it has the answer to the last, or with --rate R all clients
together send R requests per second.
"""

import argparse
import http.client
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PATH = "/v1/predict"
TYPES = {".jpg": "image/jpeg", ".png": "image/png"}
VERSION = "X-Lesionflow-Version"
TIMEOUT = 120.0
WARM = 5
"""Requests of each client before its answers count."""


@dataclass
class Answers:
    """What came back.

    Attributes:
        milliseconds: of each answer with status 200.
        statuses: number of answers of each status.
        versions: number of answers of each version.
        failures: what went wrong where there was no answer, and how often.
    """

    milliseconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)


class Client:
    """A connection that is opened again when it was closed.

    Args:
        url: of the service.
    """

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(str(urlsplit(url).netloc), timeout=TIMEOUT)

    def predict(self, content: bytes, kind: str) -> tuple[int, str, bytes]:
        """Send an image; the status, the version and the body of the answer."""
        self._connection.request("POST", PATH, content, {"Content-Type": kind})
        response = self._connection.getresponse()
        return response.status, response.headers.get(VERSION, ""), response.read()

    def close(self) -> None:
        """Close the connection; the next request opens it."""
        self._connection.close()


class Pace:
    """Says when the next request is due: at once, or evenly at `rate` requests per second, of which none is made up for."""

    def __init__(self, rate: float | None) -> None:
        self._rate, self._lock, self._next = rate, threading.Lock(), time.perf_counter()

    def wait(self) -> None:
        """Wait until a request is due."""
        if self._rate is None:
            return
        with self._lock:
            due = max(self._next, time.perf_counter() - 1 / self._rate)
            self._next = due + 1 / self._rate
        time.sleep(max(0.0, due - time.perf_counter()))


def send(url: str, images: list[tuple[bytes, str]], clients: int, seconds: float, rate: float | None = None) -> Answers:
    """Send images from this many clients for this long."""
    answers, lock, numbers, pace = Answers(), threading.Lock(), count(), Pace(rate)
    ready = threading.Barrier(clients)

    def run() -> None:
        client = Client(url)
        for _ in range(WARM if rate is None else 0):
            client.predict(*images[0])
        ready.wait()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            pace.wait()
            image = images[next(numbers) % len(images)]
            start = time.perf_counter()
            try:
                status, version, _ = client.predict(*image)
            except (OSError, http.client.HTTPException) as fault:
                client.close()
                with lock:
                    answers.failures[type(fault).__name__] += 1
                continue
            taken = 1000 * (time.perf_counter() - start)
            with lock:
                answers.statuses[status] += 1
                if status == http.HTTPStatus.OK:
                    answers.versions[version] += 1
                    answers.milliseconds.append(taken)

    threads = [threading.Thread(target=run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def read_images(folder: Path) -> list[tuple[bytes, str]]:
    """The images of a folder with their media types."""
    return [(path.read_bytes(), TYPES[path.suffix]) for path in sorted(folder.iterdir()) if path.suffix in TYPES]


def as_document(answers: Answers) -> dict[str, Any]:
    """The answers as what is printed."""
    return {
        "milliseconds": [round(taken, 3) for taken in answers.milliseconds],
        "statuses": {str(status): number for status, number in answers.statuses.items()},
        "versions": dict(answers.versions),
        "failures": dict(answers.failures),
    }


def main() -> None:
    """Send and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=float)
    given = parser.parse_args()
    print(json.dumps(as_document(send(given.url, read_images(given.folder), given.clients, given.seconds, given.rate))))


if __name__ == "__main__":
    main()
