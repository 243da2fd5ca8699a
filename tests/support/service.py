"""`lesionflow serve` as a process of its own, on a free port of 127.0.0.1."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.prefect import free_port
from tests.support.project import Project

START_SECONDS = 60


@dataclass
class Service:
    """A service that was started; `url` has no slash at its end, `log` is what it prints, `root` the folder that it runs in."""

    process: "subprocess.Popen[bytes]"
    url: str
    log: Path
    root: Path

    def client(self, **options: object) -> httpx.Client:
        """A client whose paths are relative to the service."""
        return httpx.Client(base_url=self.url, trust_env=False, timeout=60, **options)

    def lines(self) -> list[str]:
        """What it printed until now."""
        return self.log.read_text(encoding="utf-8").splitlines()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal, and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)


def serve_command(*options: str) -> list[str]:
    """The command line of the service."""
    return [sys.executable, "-m", "app.cli", "serve", *options]


@contextmanager
def running_service(root: Path, log: Path, *options: str, **environment: str) -> Iterator[Service]:
    """Start a service in a project's folder, wait until a version answers, and end it after the block.

    Args:
        root: the folder.
        log: file for what it prints.
        options: of the command.
        environment: variables, beside those of a project.
    """
    port = free_port()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            serve_command("--port", str(port), "--cache", str(log.with_suffix(".cache")), *options),
            cwd=root,
            env=Project(root).environment(**environment),
            stdout=stream,
            stderr=stream,
        )
    scheme = "https" if "--tls-key" in options else "http"
    service = Service(process, f"{scheme}://127.0.0.1:{port}", log, root)
    try:
        _wait_until_ready(service)
        yield service
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            service.end()


def _wait_until_ready(service: Service) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        assert service.process.poll() is None, "\n".join(service.lines())
        try:
            if httpx.get(f"{service.url}/ready", verify=False, trust_env=False, timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"waited {START_SECONDS} s for /ready\n{os.linesep.join(service.lines())}")
