"""Schedules, registration and promotion on PostgreSQL, for Prefect and MLflow both, by environment variables alone."""

import json
from pathlib import Path

import pytest

from tests.support.prefect import lab_of, wait
from tests.support.project import Project

pytestmark = [pytest.mark.timeout(900), pytest.mark.postgresql]


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
