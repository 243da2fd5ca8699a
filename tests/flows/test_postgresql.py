"""Schedules, registration and promotion with Prefect and MLflow on PostgreSQL, configured by environment variables."""

import json
from pathlib import Path

import pytest

from tests.support.prefect import start_lab, wait_for
from tests.support.project import Project

pytestmark = [pytest.mark.timeout(900), pytest.mark.postgresql]


def test_schedule_registers_and_promote_works_on_postgresql(built: Project, postgresql: str, tmp_path: Path):
    environment = {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{postgresql}/prefect",
        "MLFLOW_TRACKING_URI": f"postgresql://{postgresql}/mlflow",
    }
    with start_lab(built.copy(tmp_path / "project"), **environment) as prefect_lab:
        prefect_lab.project.set_params({"register": {"min_balanced_accuracy": 0.9}})
        prefect_lab.schedule("train-nightly", interval=5, timezone="Europe/Zurich")
        prefect_lab.deploy()
        first, second = wait_for(
            "two scheduled runs", lambda: (done := prefect_lab.runs("train-nightly", "Completed"))[1:] and done[:2], 500
        )
        assert prefect_lab.stages(first["id"])["register"] == "Completed"
        assert set(prefect_lab.stages(second["id"]).values()) == {"Cached"}
        assert not (prefect_lab.project.root / ".prefect/prefect.db").exists()
        assert not (prefect_lab.project.root / "mlruns/mlflow.db").exists()
        assert list((prefect_lab.project.root / "mlruns/artifacts").iterdir())

        image = next((prefect_lab.project.root / "data/melanoma").iterdir())
        prefect_lab.project.run("python", "-m", "app.cli", "champion", "promote", "1", "--override", "a trial", **environment)
        history = prefect_lab.project.run("python", "-m", "app.cli", "champion", "history", "--format", "json", **environment).stdout
        assert json.loads(history[history.index("[") :])[-1]["after"] == "1"
        output = prefect_lab.project.run("python", "-m", "app.cli", "predict", "--format", "json", str(image), **environment).stdout
        assert json.loads(output[output.index("[\n") :])[0]["version"] == "1"
