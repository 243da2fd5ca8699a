"""The registry on PostgreSQL; `make test-postgresql` tests flows on PostgreSQL too."""

from collections.abc import Callable
from typing import Any

import pytest
from mlflow import MlflowClient

from components.tracking import store
from tests.mlflow.conftest import RegistryLab


def test_register_promote_and_rollback_on_postgresql(
    new_registry: Callable[[], RegistryLab], run_cli: Callable[..., Any], postgresql: str, monkeypatch: pytest.MonkeyPatch
):
    root = new_registry().root
    monkeypatch.setenv(store.URI, f"postgresql://{postgresql}/mlflow")
    registry = RegistryLab(root, store.connect())
    first, second = registry.register_version(wrong=1), registry.register_version(wrong=0)
    for version in (first, second):
        result = run_cli("champion", "promote", version, "--override", "a trial")
        assert result.exit_code == 0, result.stderr
    assert run_cli("champion", "rollback", "--reason", "a trial").exit_code == 0
    assert registry.champion() == first
    assert [entry.after for entry in registry.champion_state().entries] == [first, second, first]
    local = f"sqlite:///{root / 'mlruns/mlflow.db'}"
    assert MlflowClient(local, local).search_registered_models() == []
