"""The progress bar that a command's lines move."""

import uuid

import pytest

from flows import artifacts
from flows.artifacts import Progress


@pytest.fixture
def bars(monkeypatch) -> list[tuple[str, float, str]]:
    """What was asked of Prefect: create or update, percent, description."""
    asked, bar = [], uuid.uuid4()

    def create(percent: float, key: str, line: str) -> uuid.UUID:
        asked.append((f"create {key}", percent, line))
        return bar

    def update(artifact: uuid.UUID, percent: float, line: str) -> None:
        assert artifact == bar
        asked.append(("update", percent, line))

    monkeypatch.setattr(artifacts, "create_progress_artifact", create)
    monkeypatch.setattr(artifacts, "update_progress_artifact", update)
    monkeypatch.setattr(artifacts, "get_run_logger", lambda: type("Logger", (), {"info": print}))
    return asked


def test_lines_that_count_move_the_bar_and_all_are_logged(bars, capsys):
    progress = Progress("folds")
    lines = ["views: 100%", "1 of 5: fold 0", "a line 3 of 5: no count", "5 of 5: fold 4", "6 of 5: a trial too many"]
    for line in lines:
        progress(line)

    assert capsys.readouterr().out.splitlines() == lines
    assert bars == [("create folds", 20.0, lines[1]), ("update", 100.0, lines[3]), ("update", 100.0, lines[4])]
