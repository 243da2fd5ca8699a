"""The registry on PostgreSQL; `make test-postgresql` runs flows on it too."""

from collections.abc import Callable
from typing import Any

import pytest
from mlflow import MlflowClient

from components.tracking import store
from tests.mlflow.conftest import Lab


def test_a_version_is_registered_promoted_and_rolled_back_on_postgresql(
    new_lab: Callable[[], Lab], run_cli: Callable[..., Any], postgresql: str, monkeypatch: pytest.MonkeyPatch
):
    root = new_lab().root
    monkeypatch.setenv(store.URI, f"postgresql://{postgresql}/mlflow")
    lab = Lab(root, store.connect())
    first, second = lab.version(wrong=1), lab.version(wrong=0)
    for version in (first, second):
        done = run_cli("champion", "promote", version, "--override", "a trial")
        assert done.exit_code == 0, done.stderr
    assert run_cli("champion", "rollback", "--reason", "a trial").exit_code == 0
    assert lab.champion() == first
    assert [entry.after for entry in lab.look().entries] == [first, second, first]
    local = f"sqlite:///{root / 'mlruns/mlflow.db'}"
    assert MlflowClient(local, local).search_registered_models() == []
