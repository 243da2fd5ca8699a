"""Starts the service for a benchmark, in a process of its own, and measures its processor time and memory."""

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from flows.processes import free_port

START_SECONDS = 120.0
MEGABYTE = 2**20


@dataclass
class Service:
    """A started service.

    Attributes:
        url: of it.
        process: that answers; the one that asks the registry is its child and not counted.
        ready_seconds: from its start until /ready answered 200.
    """

    url: str
    process: psutil.Process
    ready_seconds: float

    def processor_seconds(self) -> float:
        """Processor time that it used until now."""
        used = self.process.cpu_times()
        return float(used.user + used.system)

    def memory_mb(self) -> float:
        """Its resident memory."""
        return float(self.process.memory_info().rss) / MEGABYTE


@contextmanager
def started(*options: str, root: Path | None = None) -> Iterator[Service]:
    """Start `lesionflow serve` in a project's folder (default: the current one), wait for /ready, and end it after the block."""
    port = free_port()
    with tempfile.TemporaryFile() as log:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "serve", "--port", str(port), *options],
            stdout=log,
            stderr=log,
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        try:
            _wait_until_ready(process, port)
            yield Service(f"http://127.0.0.1:{port}", psutil.Process(process.pid), time.perf_counter() - start)
        except SystemExit:
            log.seek(0)
            sys.stderr.write(log.read().decode())
            raise
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(30)


def _wait_until_ready(process: "subprocess.Popen[bytes]", port: int) -> None:
    end = time.perf_counter() + START_SECONDS
    while time.perf_counter() < end and process.poll() is None:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/ready")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.01)
    raise SystemExit("error: `lesionflow serve` did not become ready")


def load(service: Service, folder: Path, clients: int, seconds: float, rate: float | None = None) -> dict[str, Any]:
    """Send the images of a folder from clients in another process; what they print (clients.py), with `processor_seconds` of the service
    and `seconds`."""
    command = [sys.executable, "-m", "benchmarks.harness.clients", service.url, str(folder)]
    command += ["--clients", str(clients), "--seconds", str(seconds), *(["--rate", str(rate)] if rate else [])]
    used, start = service.processor_seconds(), time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return {
        **json.loads(done.stdout),
        "processor_seconds": service.processor_seconds() - used,
        "seconds": time.perf_counter() - start,
    }


@contextmanager
def memory_of(service: Service, every: float = 1.0) -> Iterator[list[float]]:
    """A list that gets the service's memory in MB every second within the block."""
    found: list[float] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(every):
            found.append(service.memory_mb())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()
