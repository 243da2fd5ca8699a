"""`lesionflow serve` as a process of its own, on a free port of 127.0.0.1."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from components.core.escaping import sqlite_uri
from components.core.files import read_json, write_json
from components.registry import promotion
from components.registry.local_versions import find_local_version
from components.serving.contents import FILE, write_digests
from components.serving.loading import ARTIFACTS
from components.tracking.relocation import relocate
from flows.processes import free_port
from tests.support.project import ROOT, Project

START_SECONDS = 60
MODEL = "skin-lesion-mobilenetv2"
"""The registered model of a project's params.yaml."""


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
            env=Project(root).environment(PYTHONPATH=str(ROOT), **environment),
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


def copy_store(project: Path, root: Path) -> Path:
    """Copy what a service needs of a project, its store and params.yaml, to a new folder; return the folder."""
    root.mkdir(parents=True)
    shutil.copytree(project / "mlruns", root / "mlruns")
    relocate(root / "mlruns" / "mlflow.db")
    shutil.copy(project / "params.yaml", root)
    return root


@dataclass
class Registry:
    """The store of a project's copy; `folders` has the folder of each version's logged model by number."""

    root: Path
    client: Any
    folders: dict[str, Path]

    @classmethod
    def of(cls, root: Path) -> "Registry":
        """Open it."""
        from mlflow import MlflowClient

        uri = sqlite_uri(root / "mlruns" / "mlflow.db")
        found = find_local_version(uri, MODEL, "1")
        assert found is not None
        return cls(root, MlflowClient(uri, uri), {"1": found.folder})

    def register(self, change: Callable[[Path], None]) -> str:
        """Register a copy of version 1 whose artifacts `change` changes, and return its number."""
        folder = self.root / "mlruns" / "artifacts" / "models" / f"m-{len(self.folders)}" / "artifacts"
        shutil.copytree(self.folders["1"], folder)
        artifacts = folder / ARTIFACTS
        change(artifacts)
        write_digests(
            artifacts / FILE, {name: artifacts / name for name in ("candidate", "export", "index") if (artifacts / name).exists()}
        )
        first = self.client.get_model_version(MODEL, "1")
        made = self.client.create_model_version(MODEL, folder.as_uri(), first.run_id, tags=first.tags)
        self.folders[str(made.version)] = folder
        return str(made.version)

    def promote(self, number: str) -> None:
        """Make a version champion, with its entry in the record."""
        state = promotion.read_champion_state(self.client, MODEL)
        promotion.move_champion(self.client, state, number, promotion.Cause(promotion.MANUAL, "passed", who="test"))


def change_candidate(**changes: Any) -> Callable[[Path], None]:
    """A change of a version's candidate.json."""

    def change(artifacts: Path) -> None:
        path = artifacts / "candidate" / "candidate.json"
        write_json(path, read_json(path) | changes)

    return change
