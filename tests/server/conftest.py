"""A started service over the version that the session's pipeline registered."""

from collections.abc import Iterator

import pytest

from tests.support.project import Project
from tests.support.service import Service, running_service


@pytest.fixture(scope="session")
def service(built: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`lesionflow serve` in the completed project, which it only reads. Tests must not end it."""
    with running_service(built.root, tmp_path_factory.mktemp("service") / "serve.log") as started:
        yield started
