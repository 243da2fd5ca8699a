import subprocess

import pytest

from components.tracking import provenance


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A project committed to git."""
    monkeypatch.chdir(tmp_path)
    for name in ("components/a.py", "flows/a.py", "params.yaml", "data.dvc", "prefect.toml", "dvc.lock", "reports/x.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("outs: []\n")
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "start"]):
        subprocess.run(["git", *command], check=True)
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("dvc.lock", "false"),
        ("reports/x.json", "false"),
        ("reports/new.json", "false"),
        ("components/a.py", "true"),
        ("components/new.py", "true"),
        ("params.yaml", "true"),
        ("data.dvc", "true"),
        ("prefect.toml", "true"),
    ],
)
def test_git_dirty_ignores_outputs_of_runs(repository, changed, expected):
    assert provenance.provenance()["git.dirty"] == "false"
    (repository / changed).write_text("outs: [] # changed\n")
    assert provenance.provenance()["git.dirty"] == expected
