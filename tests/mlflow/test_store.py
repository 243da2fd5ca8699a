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
    """Predicts 7 for every row."""

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
def test_artifact_root_by_tracking_uri(monkeypatch, tmp_path, uri, root, expected):
    monkeypatch.chdir(tmp_path)
    for name, value in ((store.URI, uri), (store.ARTIFACT_ROOT, root)):
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)
    assert store.artifact_root() == (expected.format(here=tmp_path) if expected else None)


def test_artifacts_of_database_uri_are_under_project(registry, monkeypatch):
    monkeypatch.setenv(store.URI, f"sqlite:///{registry.root}/mlruns/mlflow.db")
    client = store.connect()
    run = client.create_run(store.experiment_id(client)).info
    client.log_text(run.run_id, "figures", "note.txt")
    assert (registry.root / "mlruns/artifacts" / run.run_id / "artifacts/note.txt").read_text() == "figures"


def test_store_is_in_checkout_with_special_characters_in_path(empty_store, monkeypatch, tmp_path):
    checkout = tmp_path / "Prüfung #1? [x] 'y' 100%3F"
    (checkout / "mlruns").mkdir(parents=True)
    shutil.copy(empty_store, checkout / "mlruns/mlflow.db")
    monkeypatch.chdir(checkout)
    for name in (store.URI, store.ARTIFACT_ROOT):
        monkeypatch.delenv(name, raising=False)
    client = store.connect()
    run = client.create_run(store.experiment_id(client)).info
    client.log_text(run.run_id, "figures", "note.txt")
    assert (checkout / "mlruns/artifacts" / run.run_id / "artifacts/note.txt").read_text() == "figures"
    run_ids = sqlite3.connect(checkout / "mlruns/mlflow.db").execute("select run_uuid from runs").fetchall()
    assert run_ids == [(run.run_id,)]
    assert [path.name for path in tmp_path.iterdir()] == [checkout.name]
    assert sorted(path.name for path in checkout.iterdir()) == ["mlruns"]


def test_experiment_opens_on_its_runs_also_if_it_is_older(registry):
    number = store.experiment_id(registry.client)
    assert registry.client.get_experiment(number).tags == store.KIND
    older = registry.client.create_experiment("older")
    assert store.experiment_id(registry.client, "older") == older
    assert registry.client.get_experiment(older).tags == store.KIND


def test_deleted_experiment_error_names_restore_command(registry):
    number = store.experiment_id(registry.client)
    registry.client.delete_experiment(number)
    with pytest.raises(store.LesionflowError, match=f"mlflow experiments restore --experiment-id {number}"):
        store.experiment_id(registry.client)


def test_locked_database_error_names_database_file(registry):
    assert registry.client.search_experiments()
    impatient = create_engine(store.store_uri(), connect_args={"timeout": 0})  # MLflow's own engine waits for 20 s
    with closing(sqlite3.connect("mlruns/mlflow.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ServiceUnavailable) as locked, store.mlflow_errors("MLflow rejected a new run"), impatient.begin() as connection:
            connection.exec_driver_sql("DELETE FROM experiments")
    assert "Close the process that uses mlruns/mlflow.db" in str(locked.value)
    assert store.URI not in str(locked.value)


@pytest.mark.parametrize("move", [True, False], ids=["moved", "copied"])
def test_store_follows_moved_or_copied_project(registry, monkeypatch, tmp_path_factory, move):
    number = registry.register_version(model=Constant())
    registry.move_champion(number)
    old_root, new_root = registry.root, tmp_path_factory.mktemp("elsewhere") / "a clinic's Größe"
    (shutil.move if move else shutil.copytree)(old_root, new_root)
    monkeypatch.chdir(new_root)
    monkeypatch.delenv(store.URI)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    client = store.connect()
    version = client.get_model_version(MODEL, number)
    with closing(sqlite3.connect("mlruns/mlflow.db")) as database:
        text = "\n".join(database.iterdump())
    assert f"{old_root.as_uri()}/mlruns/artifacts" not in text
    assert evidence.load_evidence(client, version, None).evaluation.test.images
    assert mlflow.pyfunc.load_model(f"models:/{MODEL}@champion").predict([1.0]) == [7]
    run = client.create_run(store.experiment_id(client)).info
    assert run.artifact_uri.startswith((new_root / "mlruns/artifacts").as_uri())
    assert store.connect() and not relocate(new_root / "mlruns/mlflow.db")


def test_relocate_ignores_artifacts_that_were_not_moved(registry, tmp_path_factory):
    registry.register_version()
    database = tmp_path_factory.mktemp("elsewhere") / "mlruns" / "mlflow.db"
    database.parent.mkdir()
    shutil.copy(registry.root / "mlruns/mlflow.db", database)
    before = database.read_bytes()
    assert relocate(database) == []
    assert database.read_bytes() == before
