"""Runs that start by themselves on a real Prefect server, in an order in which each test takes the lab as the last one left it."""

import json
import os
import shutil
import signal
import time
from itertools import pairwise

import httpx
import psutil
import pytest
import yaml

from components.core.classes import CLASSES
from components.synthetic import dataset
from flows.stages import STAGES
from tests.support.prefect import CLIENT, PASSWORD, Lab, command, wait
from tests.support.project import Project

pytestmark = pytest.mark.timeout(1200)  # the first test may have to build the pipeline that others share


def report(lab: Lab, name: str) -> dict:
    return json.loads((lab.project.root / "reports" / f"{name}.json").read_text(encoding="utf-8"))


def settle(lab: Lab, deployment: str) -> None:
    """Let whatever a schedule has still planned come to its end."""
    lab.schedule("none")
    lab.deploy()
    for run in lab.runs(deployment, "Scheduled", "Late"):
        lab.ask(f"flow_runs/{run['id']}/set_state", state={"type": "CANCELLED", "name": "Cancelled"}, force=True)
    assert not any(item["schedules"] for item in lab.deployments())
    wait("planned runs to end", lambda: not lab.runs(deployment, "Pending", "Running"))


def test_a_dataset_in_the_inbox_becomes_a_registered_version_with_no_hand_on_the_keyboard(lab, built):
    before = json.loads((built.root / "reports/registration.json").read_text(encoding="utf-8"))
    arrived = lab.project.root / "inbox" / "january"
    dataset.write_dataset(arrived, dict.fromkeys(CLASSES, 9), seed=12, size=72)
    shutil.make_archive(str(arrived), "zip", arrived)
    shutil.rmtree(arrived)
    path = lab.project.root / "prefect.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    for item in document["deployments"]:
        if item["name"] == "watch-data":
            item["parameters"]["settle_seconds"] = 2
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    lab.schedule("watch-data", interval=10, timezone="Europe/Zurich")
    lab.deploy()

    run = wait("the dataset to be trained on", lambda: lab.runs("watch-data", "Completed"), 600)[0]
    settle(lab, "watch-data")
    assert lab.stages(run["id"]) == dict.fromkeys(STAGES, "Completed")
    wait("what a stage said to stand in the run's log", lambda: any("scanning" in line for line in lab.logs(run["id"])), 30)
    registered = report(lab, "registration")
    assert registered["version"] != before["version"]
    pointer = yaml.safe_load((lab.project.root / "data.dvc").read_text(encoding="utf-8"))["outs"][0]["md5"]
    said = lab.project.run("python", "-m", "app.cli", "champion", "show", "--format", "json").stdout
    shown = json.loads(said[said.index("{\n") :])
    assert shown["challenger"]["version"] == registered["version"]
    assert shown["challenger"]["data_md5"] == pointer
    assert lab.project.run("git", "status", "--porcelain", "--", "data.dvc").stdout == ""
    assert "Import january.zip" in lab.project.run("git", "log", "-1", "--format=%s").stdout
    assert not (arrived.with_suffix(".zip")).exists()
    assert next((lab.project.root / "inbox/imported").iterdir()).name.endswith("january.zip")


def test_a_run_shows_stages_figures_confusion_matrix_and_verdict(lab):
    run = lab.runs("watch-data", "Completed")[0]
    artifacts = lab.artifacts(run["id"], "stages", "summary", "confusion-matrix", "outcome")
    table = json.loads(artifacts["stages"])
    assert [row["stage"] for row in table] == list(STAGES)
    assert {row["cached"] for row in table} == {False}
    summary = artifacts["summary"]
    registered = report(lab, "registration")
    assert all(rule["name"] in summary for rule in registered["gate"])
    assert "balanced accuracy" in summary
    assert f"/runs/{registered['mlflow_run']}" in summary
    assert artifacts["confusion-matrix"].startswith("data:image/png;base64,")


def test_a_schedule_fires_by_itself_and_goes_on_when_the_server_is_killed(lab):
    lab.schedule("train-nightly", interval=10, timezone="Europe/Zurich")
    lab.deploy()

    first = wait("a scheduled run to complete", lambda: lab.runs("train-nightly", "Completed"))[0]
    assert lab.stages(first["id"]) == dict.fromkeys(STAGES, "Cached")

    server = lab.child("server")
    server.send_signal(signal.SIGKILL)
    killed = time.time()
    wait("the server to be started again", lambda: lab.child("server").pid != server.pid and lab.ask("flow_runs/count") is not None)

    def fired_since() -> list[dict]:
        done = lab.runs("train-nightly", "Completed")
        return [run for run in done if run["id"] != first["id"] and _seconds(run["start_time"]) > killed]

    second = wait("a run after the server was killed", fired_since)[0]
    assert lab.stages(second["id"]) == dict.fromkeys(STAGES, "Cached")

    worked = sorted((run["start_time"], run["end_time"]) for run in lab.runs("train-nightly", "Completed"))
    assert all(end <= start for (_, end), (start, _) in pairwise(worked)), "no two runs at once"
    settle(lab, "train-nightly")


def _seconds(stamp: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(stamp).timestamp()


def test_a_run_may_take_the_dataset_of_an_earlier_commit_and_registers_nothing_twice(lab):
    root = lab.project.root
    before = (root / "data.dvc").read_text()
    earlier = lab.project.run("git", "show", "HEAD~1:data.dvc").stdout
    assert earlier != before
    run = lab.ended(lab.start_run("training", "train-on-demand", data_revision="HEAD~1"))
    assert run["state_name"] == "Completed", run["state"]["message"]
    assert yaml.safe_load((root / ".prefect/workspace/data.dvc").read_text()) == yaml.safe_load(earlier)
    copied = json.loads((root / ".prefect/workspace/reports/registration.json").read_text(encoding="utf-8"))
    assert copied["version"] != report(lab, "registration")["version"]
    assert not copied["new_version"]
    assert (root / "data.dvc").read_text() == before


def watched(lab: Lab) -> dict:
    """A run of watch-data that had its turn: while another run holds the workspace, it leaves the inbox to the next one."""

    def turn() -> dict | None:
        run = lab.ended(lab.start_run("watch-data", "watch-data", settle_seconds=0))
        return None if "the next run checks again" in (run["state"]["message"] or "") else run

    return dict(wait("watch-data to have its turn", turn))


def test_what_cannot_be_imported_is_put_aside_with_the_reason_and_is_not_tried_again(lab):
    pointer = (lab.project.root / "data.dvc").read_text()
    (lab.project.root / "inbox" / "broken.zip").write_bytes(b"PK\x03\x04 no archive")
    run = watched(lab)
    assert run["state_name"] == "Failed", run["state"]["message"]
    assert "broken.zip" in run["state"]["message"]
    refused = sorted(path.name for path in (lab.project.root / "inbox/refused").iterdir())
    assert [name.split("-", 1)[1] for name in refused] == ["broken.zip", "broken.zip.txt"]
    failed = f"watch-data run {run['name']}: Failed"
    wait("the webhook to be told", lambda: any(failed in text and "broken.zip" in text for text in lab.told), 60)
    again = watched(lab)
    assert again["state_name"] == "Unchanged", again["state"]["message"]
    assert again["state"]["message"] == "no new dataset"
    lab.gone()
    assert not any(again["name"] in text for text in lab.told), "a look that finds nothing is no news"
    assert (lab.project.root / "data.dvc").read_text() == pointer


OTHER_PARAMS = ["register.min_balanced_accuracy=0.999"]


def workspace(lab: Lab) -> dict[str, bytes]:
    """What a run with other params leaves as it was."""
    return {name: (lab.project.root / name).read_bytes() for name in ("params.yaml", "dvc.lock", "reports/registration.json", "data.dvc")}


def test_a_run_with_other_params_that_is_killed_leaves_the_workspace_as_it_was(lab):
    before = workspace(lab)
    killed = lab.start_run("training", "train-on-demand", overrides=OTHER_PARAMS)
    wait("the copy to hold the params", lambda: lab.tasks(killed).get("copy", {}).get("state_type") == "COMPLETED")
    worker = lab.child("worker")
    for process in [*worker.children(recursive=True), worker]:
        process.kill()
    assert workspace(lab) == before


ANY_CHAMPION = {"min_balanced_accuracy": 0.0, "min_critical_sensitivity": 0.0, "max_calibration_error": 1.0}
"""Params with which a version becomes champion, however little it learned."""


def test_a_stage_ends_with_the_worker_that_is_killed_while_it_fine_tunes(lab):
    lab.project.set_params({"finetune": {"learning_rate": 0.0005, "epochs": 200, "patience": 200}})  # not over before it is killed
    running = lab.start_run("training", "train-nightly")
    wait("fine-tuning", lambda: any("Epoch" in line for line in lab.logs(running)))
    worker = lab.child("worker")
    engines = worker.children()
    orphans = [process for engine in engines for process in engine.children(recursive=True)]
    assert any("components.finetune" in " ".join(command(process)) for process in orphans)
    for process in [worker, *engines]:
        os.kill(process.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(orphans, timeout=40)
    assert not alive, "a stage ends when nobody reads what it says any more"
    lab.project.set_params({"finetune": {"epochs": 1}, "register": ANY_CHAMPION})


def test_a_page_of_another_site_can_neither_read_nor_change_anything(lab):
    api, foreign = f"http://127.0.0.1:{lab.port}/api", {"Origin": "http://elsewhere.example"}
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,prefect-csrf-token"}
    with httpx.Client(timeout=20, trust_env=False, auth=tuple(PASSWORD.split(":"))) as page:  # its reader once gave the password
        preflight = page.options(f"{api}/flow_runs/filter", headers=foreign | asked)
        token = page.get(f"{api}/csrf-token?client=page", headers=foreign)
        rebound = page.get(f"{api}/csrf-token?client=page", headers={"Host": "elsewhere.example"})
        assert {answer.status_code for answer in (preflight, token, rebound)} == {403}
        assert not [name for answer in (preflight, token) for name in answer.headers if name.lower() == "access-control-allow-origin"]
        refused = page.post(f"{api}/flow_runs/filter", json={})
        assert refused.status_code == 403
        assert "CSRF" in refused.text
        settings = page.get(f"http://127.0.0.1:{lab.port}/ui-settings").json()
        assert settings["api_url"] == "/api", "the page asks where it came from, under every name and port"
        assert settings["auth"] == "BASIC"
    assert httpx.get(f"{api}/csrf-token?client=page", timeout=20, trust_env=False).status_code == 401
    assert httpx.post(f"{api}/flow_runs/filter", json={}, headers=_csrf(), timeout=20, trust_env=False).status_code == 401


def _csrf() -> dict[str, str]:
    """The tests' token, without the password that comes with it."""
    return {name: value for name, value in CLIENT.auth.headers.items() if name != "Authorization"}


def test_deployments_that_run_in_another_folder_are_not_replaced_unasked(lab):
    other = lab.project.root.parent / "second checkout"
    for name in ("flows", "components", "app"):
        shutil.copytree(lab.project.root / name, other / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("prefect.yaml", "prefect.toml"):
        shutil.copy(lab.project.root / name, other)
    before = {item["id"]: item["pull_steps"] for item in lab.deployments()}
    api = f"http://127.0.0.1:{lab.port}/api"
    done = Project(other).run("python", "-m", "flows.deploy", check=False, PREFECT_API_URL=api, PREFECT_API_AUTH_STRING=PASSWORD)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith(f"error: the deployments on {api} run in {lab.project.root}, not in {other}.")
    assert {item["id"]: item["pull_steps"] for item in lab.deployments()} == before


def test_a_form_with_a_value_of_the_wrong_kind_is_refused_by_the_server(lab):
    found = lab.deployments("train-on-demand")[0]
    properties = found["parameter_openapi_schema"]["properties"]
    assert {"data_revision", "overrides", "force", "promote"} == set(properties)
    assert all(field.get("description") for field in properties.values())
    url = f"http://127.0.0.1:{lab.port}/api/deployments/{found['id']}/create_flow_run"
    for wrong in ({"promote": "perhaps"}, {"overrides": ["no equals sign"]}, {"force": "maybe"}):
        assert CLIENT.post(url, json={"parameters": wrong, "enforce_parameter_schema": True}).status_code == 409, wrong


def test_a_killed_worker_costs_one_run_and_locks_nothing(lab):
    """Both killed runs are marked once three heartbeats are missing, which takes 90 seconds: the tests before this one run meanwhile.

    None of them may deploy: Prefect then forgets which heartbeats it waits for.
    """
    for deployment in ("train-on-demand", "train-nightly"):
        wait(f"the killed run of {deployment} to be marked", lambda name=deployment: lab.runs(name, "Crashed"))
    crashed = lab.runs("train-nightly", "Crashed")[-1]
    lab.schedule("train-nightly", interval=20, timezone="Europe/Zurich")
    lab.deploy()
    done = wait(
        "the next scheduled run",
        lambda: [run for run in lab.runs("train-nightly", "Completed") if run["start_time"] > crashed["start_time"]],
        400,
    )
    stages = lab.stages(done[0]["id"])
    assert {stages[name] for name in STAGES[:5]} == {"Cached"}
    assert stages["finetune"] == stages["evaluate"] == stages["register"] == "Completed"
    settle(lab, "train-nightly")


def test_a_run_with_other_params_leaves_the_workspace_as_it_was_and_is_not_kept_out_by_a_killed_one(lab):
    assert [run["state_name"] for run in lab.runs("train-on-demand")][-1] == "Crashed"
    before = workspace(lab)
    again = lab.start_run("training", "train-on-demand", overrides=OTHER_PARAMS, promote="manual")
    run = lab.ended(again)
    assert run["state_name"] == "Completed", run["state"]["message"]
    assert workspace(lab) == before
    copied = json.loads((lab.project.root / ".prefect/workspace/reports/registration.json").read_text(encoding="utf-8"))
    assert copied["promote"] == "manual"
    assert copied["promotion"] is None
    assert not copied["gate_passed"]
    assert "at least 0.999 required" in lab.artifacts(again, "summary")["summary"]


def test_params_that_are_not_allowed_stop_the_run_before_any_stage_and_are_not_tried_again(lab):
    run = lab.ended(lab.start_run("training", "train-on-demand", overrides=["train.dropout=7"]))
    assert run["state_name"] == "Failed"
    assert "train.dropout: 7 is not allowed" in run["state"]["message"]
    tasks = wait(
        "the task that failed", lambda: (found := lab.tasks(run["id"])).get("copy", {}).get("state_type") == "FAILED" and found, 30
    )
    assert not set(STAGES) & set(tasks)
    assert all(task["run_count"] == 1 for task in tasks.values())


def test_the_champion_is_verified_on_the_images_it_was_measured_on_whatever_the_dataset_is_now(lab):
    assert report(lab, "registration")["promotion"], "the run after the killed one made a champion"
    run = lab.ended(lab.start_run("verify", "verify"))
    assert run["state_name"] == "Completed", run["state"]["message"]
    table = json.loads(lab.artifacts(run["id"], "verification")["verification"])
    assert {"balanced accuracy", "melanoma sensitivity"} <= {row["test metric"] for row in table}


def test_stopping_and_starting_again_keeps_schedules_and_doubles_no_deployment(lab):
    lab.schedule("verify", cron="0 5 * * 0", timezone="Europe/Zurich")
    lab.deploy()
    before = lab.deployments()
    interrupted = lab.start_run("training", "train-on-demand", force=True)
    wait("a stage to run", lambda: lab.tasks(interrupted).get("validate", {}).get("state_type") == "RUNNING")
    assert lab.stop() < 10, "`docker stop` kills what has not ended after ten seconds"
    assert not [process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == str(lab.project.root)]
    lab.start()
    assert lab.run(interrupted)["state_type"] not in ("RUNNING", "COMPLETED")
    after = lab.deployments()
    assert {item["id"] for item in after} == {item["id"] for item in before}
    active = {item["name"]: [row["active"] for row in item["schedules"]] for item in after}
    assert active["verify"] == [True]
    planned = [run["expected_start_time"] for run in wait("planned runs", lambda: lab.runs("verify", "Scheduled"), 90)]
    assert len(planned) == len(set(planned))
    silent = [
        item for item in wait("automations", lambda: lab.ask("automations/filter"), 60) if item["name"] == "Crash runs that fell silent"
    ]
    assert len(silent) == 1
