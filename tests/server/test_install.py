"""The service runs from an environment without the pipeline, made from the package index."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from app.models.lookup import FoundVersion
from app.server.version_loading import load_predictors
from flows.processes import free_port
from tests.support.images import encoded, textured
from tests.support.prefect import wait_for
from tests.support.project import CLEARED_VARIABLES, ROOT
from tests.support.service import MODEL, Registry, copy_store

pytestmark = [pytest.mark.install, pytest.mark.timeout(1200)]

UNWANTED = {"tensorflow", "keras", "prefect", "dvc", "pandas", "scipy", "scikit-learn", "mlflow", "sqlalchemy", "matplotlib", "pyarrow"}
LARGEST_MB = 600


@dataclass
class Installed:
    """A virtual environment with the service alone."""

    folder: Path

    def run(self, *command: str) -> str:
        return subprocess.run(
            [self.folder / "bin" / command[0], *command[1:]], check=True, capture_output=True, text=True, cwd=self.folder
        ).stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Installed:
    folder = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    made = Installed(folder)
    made.run("pip", "install", "--disable-pip-version-check", f"{ROOT}[serve]")
    return made


@pytest.fixture(scope="module")
def registry(served, tmp_path_factory) -> Registry:
    return Registry.of(copy_store(served, tmp_path_factory.mktemp("install") / "project"))


@pytest.fixture(scope="module")
def truth(registry) -> dict[str, float]:
    (predictor,) = load_predictors(FoundVersion(MODEL, "1", registry.folders["1"]), 1)
    return predictor.predict(IMAGE).probabilities


IMAGE = encoded(textured(3))


@contextmanager
def serving(installed: Installed, folder: Path, **environment: str):
    """The installed service in a folder; its address and the seconds until it was ready."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith((*CLEARED_VARIABLES, "PYTHON"))}
    port, start = free_port(), time.monotonic()
    command = [installed.folder / "bin" / "lesionflow", "serve", "--port", str(port), "--model", MODEL, "--cache", folder / "cache"]
    process = subprocess.Popen(command, cwd=folder, env={**variables, **environment})
    try:
        while not is_ready(port):
            assert process.poll() is None
            assert time.monotonic() < start + 60
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}", time.monotonic() - start
    finally:
        process.terminate()
        process.wait(20)


def is_ready(port: int, path: str = "/ready") -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def answer(url: str) -> dict[str, float]:
    found = httpx.post(f"{url}/v1/predict", content=IMAGE, headers={"Content-Type": "image/jpeg"}, trust_env=False, timeout=60)
    assert found.status_code == 200, found.text
    return found.json()[0]["probabilities"]


def test_environment_has_no_pipeline(installed):
    names = {package["name"].lower() for package in json.loads(installed.run("pip", "list", "--format", "json"))}
    assert not names & UNWANTED
    assert {"ai-edge-litert", "fastapi", "mlflow-skinny"} <= names
    size = sum(path.stat().st_size for path in installed.folder.rglob("*") if path.is_file() and not path.is_symlink()) / 2**20
    print(f"\nthe environment: {len(names)} packages, {size:.0f} MB")
    assert size < LARGEST_MB


def test_answers_as_the_predictor_in_process(installed, registry, truth):
    with serving(installed, registry.root) as (url, seconds):
        print(f"\nready after {seconds:.1f} s")
        assert answer(url) == pytest.approx(truth, abs=1e-5)
        assert httpx.get(f"{url}/", trust_env=False).status_code == 200


def test_fetches_from_a_server_and_starts_without_it(installed, registry, truth, tmp_path):
    port = free_port()
    store = f"sqlite:///{registry.root}/mlruns/mlflow.db"
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1", "--backend-store-uri", store]
    server = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    environment = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    try:
        wait_for("MLflow", lambda: is_ready(port, "/health"), 120)
        with serving(installed, tmp_path, **environment) as (url, _):
            assert answer(url) == pytest.approx(truth, abs=1e-5)
    finally:
        os.killpg(server.pid, 15)
        server.wait(20)
    with serving(installed, tmp_path, **environment) as (url, seconds):
        print(f"\nready after {seconds:.1f} s without the registry")
        assert answer(url) == pytest.approx(truth, abs=1e-5)
        wait_for("the problem", lambda: httpx.get(f"{url}/ready", trust_env=False).json()["problem"] == "the registry does not answer", 60)
