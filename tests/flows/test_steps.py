"""Flows on a Prefect server without schedules: retries, timeouts and the real watch-data flow."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.project import ROOT, Project
from tests.support.versioned import NEW, OLD, command, commit, read_files, read_images, template, versioned, write

__all__ = ["template", "versioned"]

pytestmark = pytest.mark.timeout(300, method="thread")  # Prefect's task timeout uses the alarm signal too


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[str]:
    """The address of a Prefect server."""
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield str(PREFECT_API_URL.value())


def test_heartbeat_automation_is_replaced_only_when_it_changed(monkeypatch):
    from prefect import get_client

    from flows import deploy

    def registered_automation() -> dict:
        with get_client(sync_client=True) as client:
            [automation] = client.request("POST", "/automations/filter", json={}).json()
        return automation

    monkeypatch.chdir(ROOT)
    deploy.create_heartbeat_automation()
    first = registered_automation()
    deploy.create_heartbeat_automation()
    assert registered_automation()["trigger"]["id"] == first["trigger"]["id"], (
        "a new trigger would forget the heartbeats that were received"
    )
    monkeypatch.setattr(deploy, "MISSED_HEARTBEATS", deploy.MISSED_HEARTBEATS + 1)
    deploy.create_heartbeat_automation()
    assert registered_automation()["trigger"]["within"] > first["trigger"]["within"]
    assert registered_automation()["id"] == first["id"]


def test_stage_is_retried_after_transient_error_only(monkeypatch):
    from prefect import flow

    from flows import tasks
    from flows.processes import CommandFailed, TransientCommandError
    from flows.stages import StageResult

    attempts = []

    def run_stage(name, *_):
        attempts.append(name)
        if name == "train":
            raise CommandFailed("train failed:\nthe data are bad")
        if attempts.count(name) < 3:
            raise TransientCommandError("register failed:\nMLflow did not answer")
        return StageResult(name, False, 1.0)

    monkeypatch.setattr(tasks, "run_stage", run_stage)
    stage_without_delay = tasks.stage.with_options(retry_delay_seconds=0)

    @flow
    def registering():
        return stage_without_delay("register").result()

    @flow
    def training():
        return stage_without_delay("train")

    assert registering() == StageResult("register", False, 1.0)
    with pytest.raises(CommandFailed, match="the data are bad"):
        training()
    assert attempts == ["register"] * 3 + ["train"]


def test_task_timeout_ends_the_command(tmp_path):
    from prefect import flow, task

    from flows.processes import Command, run_command

    lines = []

    @task(timeout_seconds=5)
    def hang():
        hanging_command = Command([sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(3600)"], "x")
        run_command(hanging_command, lines.append, root=tmp_path)

    @flow
    def hanging():
        hang()

    with pytest.raises(TimeoutError):
        hanging()
    assert not psutil.pid_exists(int(lines[0]))


WATCH = """
import os, subprocess, sys
from flows import watch_data as flow

def import_second(line):
    if not second_import:
        done = subprocess.run([sys.executable, "-m", "app.cli", "import", "inbox/second"], capture_output=True, text=True)
        second_import.append((done.returncode, done.stderr))

def run_command(command, on_line, *rest):
    return plain(command, lambda line: (import_second(line), on_line(line)), *rest)

def commit_pointer(message):
    if message == "Import first from the inbox" and "killed" in sys.argv:
        print("second import:", *second_import)
        sys.stdout.flush()
        os._exit(9)
    return commit(message)

second_import, plain, commit = [], flow.run_command, flow.commit_pointer
flow.run_command, flow.commit_pointer = run_command, commit_pointer
flow.run_pipeline = lambda: print("training on", sorted(path.name for path in (flow.ROOT / "data").rglob("*.jpg")))
print(flow.watch_data(settle_seconds=0, return_state=True).message)
"""


def test_watch_data_locks_import_and_resumes_after_kill(server, versioned):
    for name in ("app", "components", "flows"):
        shutil.copytree(ROOT / name, versioned / name, ignore=shutil.ignore_patterns("__pycache__"))
    write(versioned / "inbox" / "first", NEW)
    write(versioned / "inbox" / "second", {"nevus/other.png": NEW["nevus/new_1.jpg"]})
    os.utime(versioned / "inbox" / "first", (1, 1))
    for path in (versioned / "inbox" / "first").rglob("*"):
        os.utime(path, (1, 1))
    project = Project(versioned)

    def watch(*arguments: str) -> subprocess.CompletedProcess[str]:
        return project.run(sys.executable, "-c", WATCH, *arguments, check=False, PREFECT_API_URL=server)

    killed = watch("killed")
    assert killed.returncode == 9, killed.stdout
    second_import = killed.stdout[killed.stdout.index("second import:") :]
    assert second_import.startswith("second import: (75, "), killed.stdout
    assert "another run or import is active in" in second_import
    assert read_images(versioned / "data") == NEW
    assert "M data.dvc" in command(versioned, "git", "status", "--porcelain")

    resumed = watch()
    assert "training on ['new_1.jpg', 'new_2.jpg', 'new_3.jpg']" in resumed.stdout, resumed.stdout
    assert "trained on first" in resumed.stdout
    assert command(versioned, "git", "log", "-1", "--format=%s").strip() == "Take over the dataset first"
    assert command(versioned, "git", "status", "--porcelain", "--", "data.dvc") == ""
    assert not (versioned / ".prefect" / "taking.json").exists()

    shutil.rmtree(versioned / "inbox")
    pointer = publish_old_dataset(versioned, versioned.parent)
    followed = watch()
    assert "training on ['old_1.jpg', 'old_2.jpg']" in followed.stdout, followed.stdout
    assert read_files(versioned / "data") == OLD
    assert (versioned / "data.dvc").read_text() == pointer
    assert command(versioned, "git", "status", "--porcelain", "--", "data.dvc") == ""
    assert command(versioned, "git", "log", "-1", "--format=%s").startswith("Take the dataset of origin/")


def publish_old_dataset(root: Path, folder: Path) -> str:
    """Push the old dataset from another checkout to a branch that this one tracks; return the text of its data.dvc."""
    branch = command(root, "git", "branch", "--show-current").strip()
    command(folder, "git", "clone", "--quiet", "--bare", str(root), "origin")
    command(folder, "git", "clone", "--quiet", "origin", "other")
    other = folder / "other"
    command(root, "git", "remote", "add", "origin", str(folder / "origin"))
    command(root, "git", "fetch", "--quiet")
    command(root, "git", "branch", "--quiet", f"--set-upstream-to=origin/{branch}")
    write(other / "data", OLD)
    dvc = [sys.executable, "-m", "dvc"]
    command(other, *dvc, "config", "--quiet", "--local", "cache.dir", str(root / ".dvc" / "cache"))
    command(other, *dvc, "add", "--quiet", "data")
    commit(other)
    command(other, "git", "push", "--quiet")
    return (other / "data.dvc").read_text()
