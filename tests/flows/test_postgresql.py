"""The same on PostgreSQL, for Prefect and MLflow both, by environment variables alone."""

import json
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.prefect import free_port, lab_of, wait
from tests.support.project import Project

pytestmark = pytest.mark.timeout(900)


def programs() -> Path | None:
    """Where PostgreSQL's server programs are: Debian keeps them off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """A PostgreSQL server on a free port of loopback with databases `prefect` and `mlflow`; its user, host and port."""
    binaries = programs()
    if binaries is None:
        pytest.skip("PostgreSQL's server is not installed (Debian: apt-get install postgresql)")
    user = None
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        try:
            user = pwd.getpwnam("postgres").pw_name
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="postgresql") as folder:
        if user:
            shutil.chown(folder, user)
        data = Path(folder) / "data"

        def call(*command: str) -> None:
            done = subprocess.run(command, cwd=folder, user=user, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr

        call(str(binaries / "initdb"), "-D", str(data), "-U", "lesionflow", "--auth=trust", "--no-sync")
        log = Path(folder) / "log"
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        call(str(binaries / "pg_ctl"), "-D", str(data), "-l", str(log), "-w", "-o", options, "start")
        try:
            for name in ("prefect", "mlflow"):
                call(str(binaries / "createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", "lesionflow", name)
            yield f"lesionflow@127.0.0.1:{port}"
        finally:
            call(str(binaries / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")


def test_schedule_registration_and_promotion_on_postgresql(built: Project, postgresql: str, tmp_path: Path):
    environment = {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{postgresql}/prefect",
        "MLFLOW_TRACKING_URI": f"postgresql://{postgresql}/mlflow",
    }
    with lab_of(built.copy(tmp_path / "project"), **environment) as lab:
        lab.project.set_params({"register": {"min_balanced_accuracy": 0.9}})
        lab.schedule("train-nightly", interval=5, timezone="Europe/Zurich")
        lab.deploy()
        first, second = wait("two scheduled runs", lambda: (done := lab.runs("train-nightly", "Completed"))[1:] and done[:2], 500)
        assert lab.stages(first["id"])["register"] == "Completed"
        assert set(lab.stages(second["id"]).values()) == {"Cached"}
        assert not (lab.project.root / ".prefect/prefect.db").exists()
        assert not (lab.project.root / "mlruns/mlflow.db").exists()
        assert list((lab.project.root / "mlruns/artifacts").iterdir())

        image = next((lab.project.root / "data/melanoma").iterdir())
        lab.project.run("python", "-m", "app.cli", "champion", "promote", "1", "--override", "a trial", **environment)
        history = lab.project.run("python", "-m", "app.cli", "champion", "history", "--format", "json", **environment).stdout
        assert json.loads(history[history.index("[") :])[-1]["after"] == "1"
        said = lab.project.run("python", "-m", "app.cli", "predict", "--format", "json", str(image), **environment).stdout
        assert json.loads(said[said.index("[\n") :])[0]["version"] == "1"
