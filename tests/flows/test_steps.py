"""What needs a Prefect server and no schedule: retries and time limits as Prefect applies them, and the real watch-data flow."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.project import ROOT, Project
from tests.support.versioned import NEW, OLD, command, commit, held, template, versioned, write

__all__ = ["template", "versioned"]

pytestmark = pytest.mark.timeout(300, method="thread")  # Prefect limits tasks by the same alarm signal that pytest-timeout would use


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[str]:
    """The address of a Prefect server."""
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield str(PREFECT_API_URL.value())


def test_registering_again_keeps_the_automation_that_waits_for_heartbeats_unless_it_changed(monkeypatch):
    from prefect import get_client

    from flows import deploy

    def registered() -> dict:
        with get_client(sync_client=True) as client:
            [found] = client.request("POST", "/automations/filter", json={}).json()
        return found

    monkeypatch.chdir(ROOT)
    deploy.create_heartbeat_automation()
    first = registered()
    deploy.create_heartbeat_automation()
    assert registered()["trigger"]["id"] == first["trigger"]["id"], "a new trigger forgets the heartbeats that it has seen"
    monkeypatch.setattr(deploy, "MISSED_HEARTBEATS", deploy.MISSED_HEARTBEATS + 1)
    deploy.create_heartbeat_automation()
    assert registered()["trigger"]["within"] > first["trigger"]["within"]
    assert registered()["id"] == first["id"]


def test_what_did_not_answer_is_tried_again_and_what_failed_is_not(monkeypatch):
    from prefect import flow

    from flows import tasks
    from flows.processes import CommandFailed, TransientCommandError
    from flows.stages import StageResult

    tries = []

    def run_stage(name, *_):
        tries.append(name)
        if name == "train":
            raise CommandFailed("train failed:\nthe data are bad")
        if tries.count(name) < 3:
            raise TransientCommandError("register failed:\nMLflow did not answer")
        return StageResult(name, False, 1.0)

    monkeypatch.setattr(tasks, "run_stage", run_stage)
    quick = tasks.stage.with_options(retry_delay_seconds=0)

    @flow
    def registering():
        return quick("register").result()

    @flow
    def training():
        return quick("train")

    assert registering() == StageResult("register", False, 1.0)
    with pytest.raises(CommandFailed, match="the data are bad"):
        training()
    assert tries == ["register"] * 3 + ["train"]


def test_a_time_limit_ends_the_command_too(tmp_path):
    from prefect import flow, task

    from flows.processes import Command, run_command

    @task(timeout_seconds=2)
    def hang():
        hanging_command = Command([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(90)"], "x")
        run_command(hanging_command, print, root=tmp_path)

    @flow
    def hanging():
        hang()

    started = time.monotonic()
    with pytest.raises(TimeoutError):
        hanging()
    assert time.monotonic() - started < 60


WATCH = """
import os, subprocess, sys
from flows import watch_data as watching

def beside(line):
    if not said:
        done = subprocess.run([sys.executable, "-m", "app.cli", "import", "inbox/second"], capture_output=True, text=True)
        said.append((done.returncode, done.stderr))

def run_command(command, on_line, *rest):
    return plain(command, lambda line: (beside(line), on_line(line)), *rest)

def commit_pointer(message):
    if message == "Import first from the inbox" and "killed" in sys.argv:
        print("second import:", *said)
        sys.stdout.flush()
        os._exit(9)
    return commit(message)

said, plain, commit = [], watching.run_command, watching.commit_pointer
watching.run_command, watching.commit_pointer = run_command, commit_pointer
watching.run_pipeline = lambda: print("training on", sorted(path.name for path in (watching.ROOT / "data").rglob("*.jpg")))
print(watching.watch_data(settle_seconds=0, return_state=True).message)
"""


def test_watch_data_takes_a_dataset_over_with_its_lock_held_and_a_killed_run_is_carried_on(server, versioned):
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
    refusal = killed.stdout[killed.stdout.index("second import:") :]
    assert refusal.startswith("second import: (75, "), killed.stdout
    assert "another run or import is active in" in refusal
    assert held(versioned / "data") == NEW
    assert "M data.dvc" in command(versioned, "git", "status", "--porcelain")

    carried_on = watch()
    assert "training on ['new_1.jpg', 'new_2.jpg', 'new_3.jpg']" in carried_on.stdout, carried_on.stdout
    assert "trained on first" in carried_on.stdout
    assert command(versioned, "git", "log", "-1", "--format=%s").strip() == "Take over the dataset first"
    assert command(versioned, "git", "status", "--porcelain", "--", "data.dvc") == ""
    assert not (versioned / ".prefect" / "taking.json").exists()

    shutil.rmtree(versioned / "inbox")
    pointer = published(versioned, versioned.parent)
    followed = watch()
    assert "training on ['old_1.jpg', 'old_2.jpg']" in followed.stdout, followed.stdout
    assert held(versioned / "data") == OLD
    assert (versioned / "data.dvc").read_text() == pointer
    assert command(versioned, "git", "status", "--porcelain", "--", "data.dvc") == ""
    assert command(versioned, "git", "log", "-1", "--format=%s").startswith("Take the dataset of origin/")


def published(root: Path, beside: Path) -> str:
    """Let another checkout publish the old dataset in a branch that this one then follows; the text of its data.dvc."""
    branch = command(root, "git", "branch", "--show-current").strip()
    command(beside, "git", "clone", "--quiet", "--bare", str(root), "origin")
    command(beside, "git", "clone", "--quiet", "origin", "other")
    other = beside / "other"
    command(root, "git", "remote", "add", "origin", str(beside / "origin"))
    command(root, "git", "fetch", "--quiet")
    command(root, "git", "branch", "--quiet", f"--set-upstream-to=origin/{branch}")
    write(other / "data", OLD)
    dvc = [sys.executable, "-m", "dvc"]
    command(other, *dvc, "config", "--quiet", "--local", "cache.dir", str(root / ".dvc" / "cache"))
    command(other, *dvc, "add", "--quiet", "data")
    commit(other)
    command(other, "git", "push", "--quiet")
    return (other / "data.dvc").read_text()
