"""The verify flow with replaced tasks, without a Prefect server."""

import logging
from contextlib import contextmanager

from components.core.reports.champion import Overview
from flows import verify, workspace
from tests.support import documents


def test_verify_reads_champion_once_while_workspace_is_locked(monkeypatch, tmp_path):
    calls = []

    @contextmanager
    def lock(patience):  # noqa: ARG001
        calls.append("lock")
        yield
        calls.append("unlock")

    def champion_status():
        calls.append("read champion")
        champion = documents.version_overview(version=str(6 + calls.count("read champion")), data_md5="abc.dir")
        return Overview(model="m", champion=champion, challenger=None, noticed=None)

    def measure_champion(root, version):  # noqa: ARG001
        calls.append(f"measure {version}")
        return documents.verification(version=version)

    monkeypatch.setattr(workspace, "lock", lock)
    monkeypatch.setattr(verify, "champion_status", champion_status)
    monkeypatch.setattr(verify, "copy_with_data", lambda _: tmp_path)
    monkeypatch.setattr(verify, "pull", lambda _: None)
    monkeypatch.setattr(verify, "measure_champion", measure_champion)
    monkeypatch.setattr(verify, "create_table_artifact", lambda **_: None)
    monkeypatch.setattr(verify, "get_run_logger", lambda: logging.getLogger("test"))
    verify.verify.fn()
    assert calls == ["lock", "read champion", "measure 7", "unlock"]
