"""Runs, workers and servers that are killed or restarted, and what goes on afterwards. The tests on the server run in file order."""

import os
import signal
import subprocess
import time
from contextlib import chdir
from pathlib import Path

import psutil
import pytest

from components import embed
from components.core.errors import LesionflowError
from components.runtime.params_file import load
from flows.stages import STAGES
from tests.support.prefect import OTHER_PARAMS, command_line, wait_for, workspace_files
from tests.support.project import DEAD_PROXY, Project, ran

pytestmark = [pytest.mark.timeout(1200), pytest.mark.recovery]


def test_killed_run_with_overrides_leaves_workspace_unchanged(prefect_lab):
    before = workspace_files(prefect_lab)
    killed = prefect_lab.start_run("training", "train-on-demand", overrides=OTHER_PARAMS)
    wait_for("the copy with the overridden params", lambda: prefect_lab.tasks(killed).get("copy", {}).get("state_type") == "COMPLETED")
    worker = prefect_lab.child_process("worker")
    for process in [*worker.children(recursive=True), worker]:
        process.kill()
    assert workspace_files(prefect_lab) == before


def test_stage_ends_when_its_worker_is_killed(prefect_lab):
    params = prefect_lab.project.root / "params.yaml"
    before = params.read_text(encoding="utf-8")
    # 200 epochs, so that the stage is still running when it is killed.
    prefect_lab.project.set_params({"finetune": {"learning_rate": 0.0005, "epochs": 200, "patience": 200}})
    running = prefect_lab.start_run("training", "train-nightly")
    wait_for("fine-tuning", lambda: any("Epoch" in line for line in prefect_lab.logs(running)))
    worker = prefect_lab.child_process("worker")
    flow_run_processes = worker.children()
    stage_processes = [process for flow_run in flow_run_processes for process in flow_run.children(recursive=True)]
    assert any("components.finetune" in " ".join(command_line(process)) for process in stage_processes)
    for process in [worker, *flow_run_processes]:
        os.kill(process.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(stage_processes, timeout=40)
    assert not alive, "a stage ends when its stdout pipe is closed"
    params.write_text(before, encoding="utf-8")


def test_schedule_continues_after_worker_is_killed(prefect_lab):
    """Prefect marks both killed runs as crashed after three missed heartbeats, 90 seconds.

    No test may deploy meanwhile, because Prefect then forgets which heartbeats it waits for.
    """
    for deployment in ("train-on-demand", "train-nightly"):
        wait_for(f"the killed run of {deployment} to be marked as crashed", lambda name=deployment: prefect_lab.runs(name, "Crashed"))
    crashed = prefect_lab.runs("train-nightly", "Crashed")[-1]
    prefect_lab.schedule("train-nightly", interval=20, timezone="Europe/Zurich")
    prefect_lab.deploy()
    done = wait_for(
        "the next scheduled run",
        lambda: [run for run in prefect_lab.runs("train-nightly", "Completed") if run["start_time"] > crashed["start_time"]],
        400,
    )
    stages = prefect_lab.stages(done[0]["id"])
    assert stages == dict.fromkeys(STAGES, "Cached"), "what the killed stage had removed comes from DVC's cache"
    prefect_lab.pause("train-nightly")


def test_run_with_overrides_succeeds_after_killed_run(prefect_lab):
    assert [run["state_name"] for run in prefect_lab.runs("train-on-demand")][-1] == "Crashed"
    run = prefect_lab.wait_until_ended(prefect_lab.start_run("training", "train-on-demand", overrides=OTHER_PARAMS))
    assert run["state_name"] == "Completed", run["state"]["message"]


def test_restart_keeps_schedules_and_deployments(prefect_lab):
    prefect_lab.schedule("verify", cron="0 5 * * 0", timezone="Europe/Zurich")
    prefect_lab.deploy()
    before = prefect_lab.deployments()
    interrupted = prefect_lab.start_run("training", "train-on-demand", force=True)
    wait_for("a stage to run", lambda: prefect_lab.tasks(interrupted).get("validate", {}).get("state_type") == "RUNNING")
    assert prefect_lab.stop() < 10, "`docker stop` kills processes that have not ended after ten seconds"
    assert not [process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == str(prefect_lab.project.root)]
    prefect_lab.start()
    assert prefect_lab.get_run(interrupted)["state_type"] not in ("RUNNING", "COMPLETED")
    after = prefect_lab.deployments()
    assert {item["id"] for item in after} == {item["id"] for item in before}
    active = {item["name"]: [row["active"] for row in item["schedules"]] for item in after}
    assert active["verify"] == [True]
    planned = wait_for("planned runs", lambda: prefect_lab.runs("verify", "Scheduled"), 90)
    planned_times = [run["expected_start_time"] for run in planned]
    assert len(planned_times) == len(set(planned_times))
    automations = [
        item
        for item in wait_for("automations", lambda: prefect_lab.call_api("automations/filter"), 60)
        if item["name"] == "Crash runs that fell silent"
    ]
    assert len(automations) == 1


def stages_of_flow(output: str) -> list[tuple[str, str]]:
    """The stages that a flow printed, each with `ran` or `cached`."""
    rows = [line.split() for line in output.splitlines() if line.endswith(" s")]
    return [(row[0], row[1]) for row in rows if row and row[0] in STAGES]


def test_flow_resumes_run_that_was_killed_after_image_changed(project, tmp_path):
    before = project.output_hashes("augment")
    image = sorted((project.root / "data/nevus").glob("*.jpg"))[0]
    image.write_bytes(image.read_bytes() + b"\0")
    kill_during_augment(project, tmp_path / "killed.log")
    assert not (project.root / "build/shards").exists()
    with chdir(project.root), pytest.raises(LesionflowError, match="does not exist"):
        embed.embed(load())

    stages = stages_of_flow(project.run("python", "-m", "flows.training", **DEAD_PROXY).stdout)
    assert [stage for stage, _ in stages] == list(STAGES)
    assert [stage for stage, state in stages if state == "ran"] == ["augment", "evaluate", "index", "register"], (
        "the killed stage runs again, then those that read data/ or the catalog"
    )
    assert project.output_hashes("augment") == before, "pixels did not change"
    assert ran(project.repro()) == []


def kill_during_augment(project: Project, log_file: Path) -> None:
    """Run the pipeline and kill it with its child processes while augment writes."""
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            ["dvc", "repro"], cwd=project.root, env=project.environment(), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    partial_output = project.root / "build/.shards.partial"
    deadline = time.monotonic() + 240
    while not partial_output.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    output = log_file.read_text(encoding="utf-8")
    assert partial_output.exists(), output
    assert ran(output) == ["validate", "split", "augment"]
