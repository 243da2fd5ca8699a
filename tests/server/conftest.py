"""A started service over the version that the session's pipeline registered."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.project import Project
from tests.support.service import Registry, Service, running_service


@pytest.fixture(scope="session")
def served(built: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a copy of the completed project, whose version 1 is champion. Tests must not change it."""
    root = built.copy(tmp_path_factory.mktemp("served") / "project", store=True).root
    Registry.of(root).promote("1")
    return root


@pytest.fixture(scope="session")
def service(served: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`lesionflow serve` in the completed project. Tests must not end it."""
    with running_service(served, tmp_path_factory.mktemp("service") / "serve.log") as started:
        yield started
