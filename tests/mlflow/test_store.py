import shutil
import sqlite3
from contextlib import closing

import mlflow
import pytest
from sqlalchemy import create_engine

from components.core.errors import ServiceUnavailable
from components.registry import evidence
from components.tracking import store
from components.tracking.relocation import relocate
from tests.mlflow.conftest import MODEL
from tests.support.project import ROOT


class Constant(mlflow.pyfunc.PythonModel):
    """Seven, for whatever it is given."""

    def predict(self, model_input):
        return [7 for _ in model_input]


@pytest.mark.parametrize(
    ("uri", "root", "expected"),
    [
        (None, None, "file://{here}/mlruns/artifacts"),
        ("sqlite:////elsewhere/mlflow.db", None, "file://{here}/mlruns/artifacts"),
        ("postgresql+psycopg2://me:secret@db/mlflow", None, "file://{here}/mlruns/artifacts"),
        ("postgresql://db/mlflow", "s3://bucket/mlflow", "s3://bucket/mlflow"),
        ("postgresql://db/mlflow", "shared", "file://{here}/shared"),
        ("http://127.0.0.1:5000", "s3://bucket/mlflow", None),
        ("https://mlflow.example.org", None, None),
    ],
)
def test_a_database_keeps_artifacts_under_the_project_and_a_server_decides_itself(monkeypatch, tmp_path, uri, root, expected):
    monkeypatch.chdir(tmp_path)
    for name, value in ((store.URI, uri), (store.ARTIFACT_ROOT, root)):
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)
    assert store.artifact_root() == (expected.format(here=tmp_path) if expected else None)


def test_artifacts_of_a_database_uri_land_under_the_project_whatever_the_directory(lab, monkeypatch):
    monkeypatch.setenv(store.URI, f"sqlite:///{lab.root}/mlruns/mlflow.db")
    client = store.connect()
    run = client.create_run(store.experiment_id(client)).info
    client.log_text(run.run_id, "figures", "note.txt")
    assert (lab.root / "mlruns/artifacts" / run.run_id / "artifacts/note.txt").read_text() == "figures"


def test_the_store_is_in_the_checkout_whatever_its_path_is(empty_store, monkeypatch, tmp_path):
    here = tmp_path / "Prüfung #1? [x] 'y' 100%3F"
    (here / "mlruns").mkdir(parents=True)
    shutil.copy(empty_store, here / "mlruns/mlflow.db")
    monkeypatch.chdir(here)
    for name in (store.URI, store.ARTIFACT_ROOT):
        monkeypatch.delenv(name, raising=False)
    client = store.connect()
    run = client.create_run(store.experiment_id(client)).info
    client.log_text(run.run_id, "figures", "note.txt")
    assert (here / "mlruns/artifacts" / run.run_id / "artifacts/note.txt").read_text() == "figures"
    held = sqlite3.connect(here / "mlruns/mlflow.db").execute("select run_uuid from runs").fetchall()
    assert held == [(run.run_id,)]
    assert [path.name for path in tmp_path.iterdir()] == [here.name]
    assert sorted(path.name for path in here.iterdir()) == ["mlruns"]


def test_an_experiment_that_was_deleted_is_named_with_the_command_that_restores_it(lab):
    number = store.experiment_id(lab.client)
    lab.client.delete_experiment(number)
    with pytest.raises(store.LesionflowError, match=f"mlflow experiments restore --experiment-id {number}"):
        store.experiment_id(lab.client)


def test_a_locked_local_database_is_answered_with_what_locks_it_and_not_with_a_variable_that_mlflow_set(lab):
    assert lab.client.search_experiments()
    impatient = create_engine(store.store_uri(), connect_args={"timeout": 0})  # MLflow's own engine waits for 20 s
    with closing(sqlite3.connect("mlruns/mlflow.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ServiceUnavailable) as locked, store.mlflow_errors("MLflow rejected a new run"), impatient.begin() as connection:
            connection.exec_driver_sql("DELETE FROM experiments")
    assert "Close the process that uses mlruns/mlflow.db" in str(locked.value)
    assert store.URI not in str(locked.value)


@pytest.mark.parametrize("moved", [True, False], ids=["moved", "copied"])
def test_the_store_follows_a_project_that_was_moved_or_copied(lab, monkeypatch, tmp_path_factory, moved):
    number = lab.version(model=Constant())
    lab.move(number)
    there, here = lab.root, tmp_path_factory.mktemp("elsewhere") / "a clinic's Größe"
    (shutil.move if moved else shutil.copytree)(there, here)
    monkeypatch.chdir(here)
    monkeypatch.delenv(store.URI)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    client = store.connect()
    version = client.get_model_version(MODEL, number)
    with closing(sqlite3.connect("mlruns/mlflow.db")) as database:
        text = "\n".join(database.iterdump())
    assert f"{there.as_uri()}/mlruns/artifacts" not in text
    assert evidence.load_evidence(client, version, None).evaluation.test.images
    assert mlflow.pyfunc.load_model(f"models:/{MODEL}@champion").predict([1.0]) == [7]
    run = client.create_run(store.experiment_id(client)).info
    assert run.artifact_uri.startswith((here / "mlruns/artifacts").as_uri())
    assert store.connect() and not relocate(here / "mlruns/mlflow.db")


def test_artifacts_that_did_not_come_along_with_the_database_stay_where_they_are(lab, tmp_path_factory):
    lab.version()
    database = tmp_path_factory.mktemp("elsewhere") / "mlruns" / "mlflow.db"
    database.parent.mkdir()
    shutil.copy(lab.root / "mlruns/mlflow.db", database)
    before = database.read_bytes()
    assert relocate(database) == []
    assert database.read_bytes() == before
