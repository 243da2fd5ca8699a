import os
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from app.data import ingest, isic, removal, replacement
from tests.support.project import ROOT


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with one old image, in which DVC does nothing."""
    root = tmp_path / "project"
    (root / "data/nevus").mkdir(parents=True)
    (root / "data/nevus/old.jpg").write_bytes(b"old")
    (root / "labels").symlink_to(ROOT / "labels")
    monkeypatch.chdir(root)
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:  # MLflow itself sets the address of its store
        monkeypatch.delenv(name)
    for module in (ingest, isic, removal):
        monkeypatch.setattr(module, "require_safe_previous", lambda: None)
    monkeypatch.setattr(replacement, "exclusive", lambda: nullcontext(SimpleNamespace(add=lambda _: None)))
    return root
