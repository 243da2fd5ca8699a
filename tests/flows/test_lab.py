"""Scheduled and manual runs on a real Prefect server. The tests run in file order; each one uses the state that the previous one left."""

import json
import shutil
import signal
import time
from itertools import pairwise

import httpx
import pytest

from flows.stages import STAGES
from tests.support.prefect import CLIENT, OTHER_PARAMS, PASSWORD, cancel_planned_runs, read_report, wait_for, workspace_files
from tests.support.project import Project

pytestmark = pytest.mark.timeout(1200)  # the first test may have to build the pipeline that others share


ANY_CHAMPION = {"min_balanced_accuracy": 0.0, "min_critical_sensitivity": 0.0, "max_calibration_error": 1.0}
"""Thresholds of the gate that every version passes."""


def test_schedule_starts_runs_and_continues_after_server_is_killed(prefect_lab):
    prefect_lab.project.set_params({"register": ANY_CHAMPION})
    prefect_lab.schedule("train-nightly", interval=10, timezone="Europe/Zurich")
    prefect_lab.deploy()

    first = wait_for("a scheduled run to complete", lambda: prefect_lab.runs("train-nightly", "Completed"))[0]
    assert prefect_lab.stages(first["id"]) == {**dict.fromkeys(STAGES, "Cached"), "register": "Completed"}

    server = prefect_lab.child_process("server")
    server.send_signal(signal.SIGKILL)
    killed = time.time()
    wait_for(
        "the server to be started again",
        lambda: prefect_lab.child_process("server").pid != server.pid and prefect_lab.call_api("flow_runs/count") is not None,
    )

    def completed_after_kill() -> list[dict]:
        done = prefect_lab.runs("train-nightly", "Completed")
        return [run for run in done if run["id"] != first["id"] and _timestamp(run["start_time"]) > killed]

    second = wait_for("a run after the server was killed", completed_after_kill)[0]
    assert prefect_lab.stages(second["id"]) == dict.fromkeys(STAGES, "Cached")

    intervals = sorted((run["start_time"], run["end_time"]) for run in prefect_lab.runs("train-nightly", "Completed"))
    assert all(end <= start for (_, end), (start, _) in pairwise(intervals)), "runs do not overlap"
    cancel_planned_runs(prefect_lab, "train-nightly")


def _timestamp(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def test_server_rejects_requests_from_other_sites(prefect_lab):
    api, foreign_origin = f"http://127.0.0.1:{prefect_lab.port}/api", {"Origin": "http://elsewhere.example"}
    preflight_headers = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,prefect-csrf-token"}
    with httpx.Client(timeout=20, trust_env=False, auth=tuple(PASSWORD.split(":"))) as page:  # the browser sends the stored password
        preflight = page.options(f"{api}/flow_runs/filter", headers=foreign_origin | preflight_headers)
        token = page.get(f"{api}/csrf-token?client=page", headers=foreign_origin)
        rebound = page.get(f"{api}/csrf-token?client=page", headers={"Host": "elsewhere.example"})
        assert {answer.status_code for answer in (preflight, token, rebound)} == {403}
        assert not [name for answer in (preflight, token) for name in answer.headers if name.lower() == "access-control-allow-origin"]
        refused = page.post(f"{api}/flow_runs/filter", json={})
        assert refused.status_code == 403
        assert "CSRF" in refused.text
        settings = page.get(f"http://127.0.0.1:{prefect_lab.port}/ui-settings").json()
        assert settings["api_url"] == "/api", "the page calls the API on its own origin"
        assert settings["auth"] == "BASIC"
    assert httpx.get(f"{api}/csrf-token?client=page", timeout=20, trust_env=False).status_code == 401
    assert httpx.post(f"{api}/flow_runs/filter", json={}, headers=_token_headers(), timeout=20, trust_env=False).status_code == 401


def _token_headers() -> dict[str, str]:
    """The headers of the CSRF token, without the password."""
    return {name: value for name, value in CLIENT.auth.headers.items() if name != "Authorization"}


def test_deploy_refuses_to_replace_deployments_of_another_checkout(prefect_lab):
    other = prefect_lab.project.root.parent / "second checkout"
    for name in ("flows", "components", "app"):
        shutil.copytree(prefect_lab.project.root / name, other / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("prefect.yaml", "prefect.toml"):
        shutil.copy(prefect_lab.project.root / name, other)
    before = {item["id"]: item["pull_steps"] for item in prefect_lab.deployments()}
    api = f"http://127.0.0.1:{prefect_lab.port}/api"
    done = Project(other).run("python", "-m", "flows.deploy", check=False, PREFECT_API_URL=api, PREFECT_API_AUTH_STRING=PASSWORD)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith(f"error: the deployments on {api} run in {prefect_lab.project.root}, not in {other}.")
    assert {item["id"]: item["pull_steps"] for item in prefect_lab.deployments()} == before


def test_server_rejects_run_parameters_of_wrong_type(prefect_lab):
    deployment = prefect_lab.deployments("train-on-demand")[0]
    properties = deployment["parameter_openapi_schema"]["properties"]
    assert {"data_revision", "overrides", "force", "promote"} == set(properties)
    assert all(field.get("description") for field in properties.values())
    url = f"http://127.0.0.1:{prefect_lab.port}/api/deployments/{deployment['id']}/create_flow_run"
    for wrong in ({"promote": "perhaps"}, {"overrides": ["no equals sign"]}, {"force": "maybe"}):
        assert CLIENT.post(url, json={"parameters": wrong, "enforce_parameter_schema": True}).status_code == 409, wrong


def test_run_with_overrides_leaves_workspace_unchanged(prefect_lab):
    before = workspace_files(prefect_lab)
    run_id = prefect_lab.start_run("training", "train-on-demand", overrides=OTHER_PARAMS, promote="manual")
    run = prefect_lab.wait_until_ended(run_id)
    assert run["state_name"] == "Completed", run["state"]["message"]
    assert workspace_files(prefect_lab) == before
    registration = json.loads((prefect_lab.project.root / ".prefect/workspace/reports/registration.json").read_text(encoding="utf-8"))
    assert registration["promote"] == "manual"
    assert registration["promotion"] is None
    assert not registration["gate_passed"]
    assert "at least 0.999 required" in prefect_lab.artifacts(run_id, "summary")["summary"]


def test_invalid_override_fails_run_before_any_stage_without_retry(prefect_lab):
    run = prefect_lab.wait_until_ended(prefect_lab.start_run("training", "train-on-demand", overrides=["train.dropout=7"]))
    assert run["state_name"] == "Failed"
    assert "train.dropout: 7 is not allowed" in run["state"]["message"]
    tasks = wait_for(
        "the task that failed", lambda: (tasks := prefect_lab.tasks(run["id"])).get("copy", {}).get("state_type") == "FAILED" and tasks, 30
    )
    assert not set(STAGES) & set(tasks)
    assert all(task["run_count"] == 1 for task in tasks.values())


def test_verify_measures_champion_on_its_recorded_test_images(prefect_lab):
    assert read_report(prefect_lab.project, "registration")["champion"], "every version passes the gate"
    run = prefect_lab.wait_until_ended(prefect_lab.start_run("verify", "verify"))
    assert run["state_name"] == "Completed", run["state"]["message"]
    table = json.loads(prefect_lab.artifacts(run["id"], "verification")["verification"])
    assert {"balanced accuracy", "melanoma sensitivity"} <= {row["test metric"] for row in table}
