import pytest

from components import tracking


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
    for name, value in ((tracking.URI, uri), (tracking.ARTIFACT_ROOT, root)):
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)
    assert tracking.artifact_root() == (expected.format(here=tmp_path) if expected else None)


def test_artifacts_of_a_database_uri_land_under_the_project_whatever_the_directory(lab, monkeypatch):
    monkeypatch.setenv(tracking.URI, f"sqlite:///{lab.root}/mlruns/mlflow.db")
    client = tracking.connect()
    run = client.create_run(tracking.experiment_id(client)).info
    client.log_text(run.run_id, "figures", "note.txt")
    assert (lab.root / "mlruns/artifacts" / run.run_id / "artifacts/note.txt").read_text() == "figures"


def test_an_experiment_that_was_deleted_is_named_with_the_command_that_restores_it(lab):
    number = tracking.experiment_id(lab.client)
    lab.client.delete_experiment(number)
    with pytest.raises(tracking.LesionflowError, match=f"mlflow experiments restore --experiment-id {number}"):
        tracking.experiment_id(lab.client)
