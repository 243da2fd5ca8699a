"""Folds and trials shared by several processes give what one process gives, also if some of them are killed."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from flows.processes import free_port
from tests.support.prefect import command_line, wait_for
from tests.support.project import Project

pytestmark = pytest.mark.timeout(1200)

SLOW = {"train": {"epochs": 40, "patience": 40}}
"""A fold then takes long enough to be killed in."""


@pytest.fixture(scope="module")
def lab(project: Project) -> Project:
    project.set_params({"cross_validation": {"folds": 3, "repeats": 1}, "train": {"epochs": 2}, "tuning": {"trials": 4}})
    return project


def report(lab: Project, name: str) -> dict:
    return json.loads((lab.root / f"reports/{name}.json").read_text(encoding="utf-8"))


def start(lab: Project, flow: str, *options: str, **environment: str) -> "subprocess.Popen[str]":
    command = ["python", "-m", f"flows.{flow}", *options]
    return subprocess.Popen(
        command, cwd=lab.root, env=lab.environment(**environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process: "subprocess.Popen[str]") -> str:
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output
    return output


def values(lab: Project, study: str) -> dict[str, float | None]:
    """The value of each complete trial of the only study, by its params."""
    with sqlite3.connect(lab.root / "build/tuning" / study) as database:
        rows = database.execute(
            "select t.trial_id, group_concat(p.param_name || '=' || p.param_value), v.value from trials t"
            " join (select * from trial_params order by param_name) p using (trial_id) join trial_values v using (trial_id)"
            " where t.state = 'COMPLETE' group by t.trial_id"
        ).fetchall()
    return {params: value for _, params, value in rows}


def test_two_processes_give_the_report_of_one(lab):
    output = finish(start(lab, "cross_validation", "--workers", "2", "--threads", "1"))
    shared = report(lab, "cross_validation")
    shutil.rmtree(lab.root / "build/cv/folds")

    finish(start(lab, "cross_validation", LESIONFLOW_THREADS="1"))

    assert report(lab, "cross_validation") == shared
    assert "fold 2" in output


def test_options_that_make_no_sense_are_errors_of_one_line(lab):
    for options in (["--workers", "0"], ["--cluster", "two"], ["--workers", "1", "--cluster", "1"], ["--threads", "-1"]):
        done = lab.run("python", "-m", "flows.cross_validation", *options, check=False)
        assert done.returncode == 2, done.stdout
        assert "error: argument" in done.stdout.splitlines()[-1]
    done = lab.run("python", "-m", "components.cross_validate", check=False, LESIONFLOW_THREADS="many")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "error: LESIONFLOW_THREADS is many; it must be a whole number from 1 up."


@pytest.mark.sharing
def test_killed_process_loses_no_fold(lab):
    lab.set_params(SLOW)
    finish(start(lab, "cross_validation", LESIONFLOW_THREADS="1"))
    expected = report(lab, "cross_validation")
    shutil.rmtree(lab.root / "build/cv/folds")

    running = start(lab, "cross_validation", "--workers", "2", "--threads", "1")
    victim = wait_for("a process that trains", lambda: busy_process(running, "spawn_main"))
    time.sleep(3)
    victim.kill()

    assert "submitted again" in finish(running)
    assert report(lab, "cross_validation") == expected


def busy_process(flow: "subprocess.Popen[str]", word: str) -> psutil.Process | None:
    """A process that a flow started, with this word in its command, in which TensorFlow runs."""
    for child in psutil.Process(flow.pid).children(recursive=True):
        if word in " ".join(command_line(child)) and child.is_running() and child.num_threads() > 4 and child.cpu_times().user > 8:
            return child
    return None


@pytest.fixture
def dask(lab: Project) -> Iterator[Callable[[], str]]:
    """Start a Dask scheduler with two workers; returns its address."""
    processes: list[subprocess.Popen[bytes]] = []

    def start_cluster() -> str:
        for process in processes:
            process.kill()
        port = free_port()
        address = f"tcp://127.0.0.1:{port}"
        processes[:] = [launch(lab, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")]
        processes.extend(launch(lab, "worker", address, "--nthreads", "1", "--no-dashboard", "--death-timeout", "20") for _ in range(2))
        return address

    yield start_cluster
    for process in processes:
        for child in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []:
            child.kill()
        process.kill()


def launch(lab: Project, *command: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["dask", *command], cwd=lab.root, env=lab.environment(), stderr=subprocess.DEVNULL)


@pytest.mark.sharing
def test_killed_dask_scheduler_loses_no_trial(lab, dask):
    lab.set_params({**SLOW, "tuning": {"trials": 8}})
    killed = start(lab, "tuning", DASK_SCHEDULER_ADDRESS=(address := dask()))
    study = lab.root / "build/tuning/studies.db"
    wait_for("two trials to end", lambda: study.exists() and len(values(lab, study.name)) >= 2)
    for process in psutil.process_iter(["cmdline"]):
        if {"scheduler", address.rpartition(":")[2]} <= set(process.info["cmdline"] or []):
            os.kill(process.pid, signal.SIGKILL)
    output, _ = killed.communicate(timeout=300)
    assert killed.returncode == 1
    assert any(line.startswith("error: Dask: ") for line in output.splitlines()[-3:]), output

    finish(start(lab, "tuning", DASK_SCHEDULER_ADDRESS=dask()))

    counts = report(lab, "tuning")["counts"]
    assert counts.get("complete", 0) + counts.get("pruned", 0) >= 8
    assert "running" not in counts
    with_kill = values(lab, study.name)
    Path(study).unlink()
    finish(start(lab, "tuning", "--workers", "2", "--threads", "1"))
    without = values(lab, study.name)
    same = set(with_kill) & set(without)
    assert same, "the present setting is a trial of both"
    assert {params: with_kill[params] for params in same} == {params: without[params] for params in same}
