"""The verify flow: which version it measures, and what it holds meanwhile. Its tasks are replaced; Prefect's server is not needed."""

import logging
from contextlib import contextmanager

from components.core.reports.champion import Overview
from flows import verify, workspace
from tests.support import documents


def test_the_champion_is_read_once_while_the_workspace_is_held_and_that_version_is_measured(monkeypatch, tmp_path):
    calls = []

    @contextmanager
    def held(patience):  # noqa: ARG001
        calls.append("hold")
        yield
        calls.append("let go")

    def look():
        calls.append("look")
        champion = documents.version_overview(version=str(6 + calls.count("look")), data_md5="abc.dir")
        return Overview(model="m", champion=champion, challenger=None, noticed=None)

    def measure(root, version):  # noqa: ARG001
        calls.append(f"measure {version}")
        return documents.verification(version=version)

    monkeypatch.setattr(workspace, "lock", held)
    monkeypatch.setattr(verify, "champion_status", look)
    monkeypatch.setattr(verify, "copy_with_data", lambda _: tmp_path)
    monkeypatch.setattr(verify, "pull", lambda _: None)
    monkeypatch.setattr(verify, "measure_champion", measure)
    monkeypatch.setattr(verify, "create_table_artifact", lambda **_: None)
    monkeypatch.setattr(verify, "get_run_logger", lambda: logging.getLogger("test"))
    verify.verify.fn()
    assert calls == ["hold", "look", "measure 7", "let go"]
