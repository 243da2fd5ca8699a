"""A project whose Prefect server and worker run under `python -m flows.serve` on a free port of 127.0.0.1."""

import base64
import json
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

from flows.processes import free_port
from flows.stages import STAGES
from tests.support.project import DEAD_PROXY, Project

FAST_POLLING = {"PREFECT_WORKER_QUERY_SECONDS": "2", "PREFECT_SERVER_LOGGING_LEVEL": "INFO"}
"""Settings of a worker that polls more often than every ten seconds, because tests wait for each run, and of a server that logs what its
services did."""


PASSWORD = "clinic:not a secret"
OTHER_PARAMS = ["register.min_balanced_accuracy=0.999"]
"""Overrides of a run: the gate then fails."""


class Token(httpx.Auth):
    """Authentication with the password of the server and, where the server requires one, a CSRF token, as its page sends them."""

    requires_response_body = True

    def __init__(self) -> None:
        password = base64.b64encode(PASSWORD.encode()).decode()
        self.headers = {"Authorization": f"Basic {password}", "Prefect-Csrf-Client": "tests"}

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers.update(self.headers)
        if (yield request).status_code == httpx.codes.FORBIDDEN:
            url = request.url.copy_with(path="/api/csrf-token", query=b"client=tests")
            answer = yield httpx.Request("GET", url, headers=self.headers)
            self.headers["Prefect-Csrf-Token"] = answer.json()["token"]
            request.headers.update(self.headers)
            yield request


CLIENT = httpx.Client(
    timeout=20,
    limits=httpx.Limits(max_keepalive_connections=0),  # no connection outlives a killed server
    trust_env=False,
    auth=Token(),
)


def command_line(process: psutil.Process) -> list[str]:
    """The program and arguments of a process; empty if the process has ended."""
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def _as_list(answer: Any) -> list[Any]:
    """A list with the answer, which is truthy even if the answer is empty; an empty list if there is no answer."""
    return [] if answer is None else [answer]


def wait_for(what: str, poll: Callable[[], Any], seconds: float = 240) -> Any:
    """Call `poll` until it returns a truthy value; return that value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        result = poll()
        if result:
            return result
        time.sleep(0.5)
    raise AssertionError(f"waited {seconds:.0f} s for {what}")


@dataclass
class PrefectLab:
    """A project with a Prefect server and worker; `environment` holds the variables that a hospital would set."""

    project: Project
    environment: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None
    webhook_messages: list[str] = field(default_factory=list)
    """Texts of the messages that the webhook received."""

    @property
    def log(self) -> Path:
        return self.project.root / ".prefect" / "serve.log"

    def start(self) -> None:
        self.log.parent.mkdir(exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["python", "-m", "flows.serve", "--port", str(self.port)],
                cwd=self.project.root,
                env=self.project.environment(**FAST_POLLING, **self.environment),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_for("the worker to start", lambda: self.call_api("work_pools/lesionflow/workers/filter"), 300)
        self.child_process("worker")  # a restarted server still lists its former worker

    def stop(self) -> float:
        """Stop the server with SIGTERM and SIGINT, as `timeout` and two Ctrl-C do; return the seconds until it ended."""
        assert self.process is not None
        started = time.monotonic()
        for number in (signal.SIGTERM, signal.SIGINT):
            self.process.send_signal(number)
            time.sleep(0.5)
        self.process.wait(90)
        return time.monotonic() - started

    def child_process(self, word: str) -> psutil.Process:
        """The running child process of `flows.serve` with this word in its command."""
        assert self.process is not None
        own = psutil.Process(self.process.pid)
        return wait_for(
            f"a {word}",
            lambda: next((child for child in own.children() if {word, f"flows.{word}"} & {*command_line(child)}), None),
        )

    def call_api(self, path: str, **body: Any) -> Any:
        """POST to the API of the server; None if it does not answer."""
        try:
            return CLIENT.post(f"http://127.0.0.1:{self.port}/api/{path}", json=body).raise_for_status().json()
        except httpx.HTTPError:
            return None

    def runs(self, deployment: str, *states: str) -> list[dict[str, Any]]:
        """Runs of a deployment in any of these states, oldest first. Waits until the server answers."""
        filters = {"state": {"name": {"any_": list(states)}}} if states else {}
        query = {"deployments": {"name": {"any_": [deployment]}}, "flow_runs": filters, "sort": "START_TIME_ASC"}
        return list(wait_for(f"the runs of {deployment}", lambda: _as_list(self.call_api("flow_runs/filter", **query)), 60)[0])

    def start_run(self, flow: str, deployment: str, **parameters: Any) -> str:
        """Start a run as the page does; return its id."""
        filters = {"deployments": {"name": {"any_": [deployment]}}, "flows": {"name": {"any_": [flow]}}}
        deployments = wait_for("the deployment", lambda: self.call_api("deployments/filter", **filters), 60)
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}, "idempotency_key": str(uuid.uuid4())}
        path = f"deployments/{deployments[0]['id']}/create_flow_run"
        return str(wait_for("the run to be accepted", lambda: self.call_api(path, **body), 60)["id"])

    def get_run(self, run_id: str) -> dict[str, Any]:
        """The current state of a run."""
        return dict(wait_for(f"run {run_id}", lambda: self.call_api("flow_runs/filter", flow_runs={"id": {"any_": [run_id]}}), 60)[0])

    def deployments(self, *names: str) -> list[dict[str, Any]]:
        """The deployments with these names, or all."""
        filters = {"deployments": {"name": {"any_": list(names)}}} if names else {}
        return list(wait_for("the deployments", lambda: self.call_api("deployments/filter", **filters), 60))

    def wait_until_ended(self, run_id: str, seconds: float = 300) -> dict[str, Any]:
        """Wait until a run has ended; return it."""
        return dict(wait_for(f"run {run_id} to end", lambda: (run := self.get_run(run_id)).get("end_time") and run, seconds))

    def tasks(self, run_id: str) -> dict[str, dict[str, Any]]:
        task_runs = self.call_api("task_runs/filter", task_runs={"flow_run_id": {"any_": [run_id]}}, sort="EXPECTED_START_TIME_ASC")
        return {task["name"]: task for task in task_runs or []}

    def stages(self, run_id: str) -> dict[str, str]:
        """Final states of the stages of a run. The server receives them shortly after the state of the run."""

        def final_states() -> dict[str, str]:
            tasks = self.tasks(run_id)
            states = {name: tasks[name] for name in STAGES if name in tasks}
            all_ended = len(states) == len(STAGES) and all(
                task["state_type"] in ("COMPLETED", "FAILED", "CRASHED") for task in states.values()
            )
            return {name: task["state_name"] for name, task in states.items()} if all_ended else {}

        return dict(wait_for(f"the stages of run {run_id}", final_states, 60))

    def logs(self, run_id: str) -> list[str]:
        entries = self.call_api("logs/filter", logs={"flow_run_id": {"any_": [run_id]}}, sort="TIMESTAMP_ASC", limit=200)
        return [entry["message"] for entry in entries or []]

    def artifacts(self, run_id: str, *keys: str) -> dict[str, Any]:
        """Data of the artifacts of a run, once these keys exist. Some artifacts are created after the final state of the run."""

        def artifact_data() -> dict[str, Any]:
            artifacts = self.call_api("artifacts/filter", artifacts={"flow_run_id": {"any_": [run_id]}}) or []
            data = {artifact["key"]: artifact["data"] for artifact in artifacts}
            return data if set(keys) <= set(data) else {}

        return dict(wait_for(f"{', '.join(keys)} of run {run_id}", artifact_data, 60))

    def wait_until_idle(self) -> None:
        """Wait until the processes of all runs have ended, including their messages after the final state."""
        wait_for("runs' processes to end", lambda: not self.child_process("worker").children(), 60)

    def schedule(self, name: str, **schedule: Any) -> None:
        """Set the schedule of a deployment in prefect.yaml and remove the schedules of the others."""
        path = self.project.root / "prefect.yaml"
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        for item in document["deployments"]:
            item["schedules"] = [{**schedule, "active": True}] if item["name"] == name else []
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")

    def deploy(self) -> None:
        self.project.run("python", "-m", "flows.deploy", PREFECT_API_URL=f"http://127.0.0.1:{self.port}/api", **self.environment)

    def pause(self, deployment: str) -> None:
        """Pause a deployment, which deletes the runs that its schedule planned, and wait until running ones have ended."""
        self.call_api(f"deployments/{self.deployments(deployment)[0]['id']}/pause_deployment")
        assert self.deployments(deployment)[0]["paused"]
        self.wait_until_none_runs(deployment)

    def wait_until_none_runs(self, deployment: str) -> None:
        """Wait until no run of a deployment is pending or running."""
        wait_for("planned runs to end", lambda: not self.runs(deployment, "Pending", "Running"))

    def commit(self) -> None:
        self.project.run("git", "add", "-A")
        self.project.run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "settings")


@contextmanager
def webhook() -> Iterator[tuple[str, list[str]]]:
    """A web server that receives messages. Yields its URL and the list of received texts."""
    webhook_messages: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            webhook_messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", webhook_messages
    finally:
        server.shutdown()


@contextmanager
def start_lab(project: Project, **environment: str) -> Iterator[PrefectLab]:
    """Start a lab on a project, without schedules. Processes that it leaves running are killed at the end."""
    prefect_lab = PrefectLab(project, environment)
    prefect_lab.schedule("none")
    prefect_lab.commit()
    try:
        prefect_lab.start()
        yield prefect_lab
    finally:
        if prefect_lab.process is not None and prefect_lab.process.poll() is None:
            prefect_lab.stop()
        for process in psutil.process_iter(["cwd"]):
            if process.pid != os.getpid() and (process.info["cwd"] or "").startswith(str(project.root)):
                process.kill()


def read_report(project: Project, name: str) -> dict[str, Any]:
    """A report of the pipeline in reports/."""
    return dict(json.loads((project.root / "reports" / f"{name}.json").read_text(encoding="utf-8")))


def workspace_files(prefect_lab: PrefectLab) -> dict[str, bytes]:
    """The files that a run with overrides must not change."""
    return {
        name: (prefect_lab.project.root / name).read_bytes()
        for name in ("params.yaml", "dvc.lock", "reports/registration.json", "splits/assignments.csv", "data.dvc")
    }


def cancel_planned_runs(prefect_lab: PrefectLab, deployment: str) -> None:
    """Remove every schedule, cancel the runs that it planned, and wait until running ones have ended."""
    prefect_lab.schedule("none")
    prefect_lab.deploy()
    for run in prefect_lab.runs(deployment, "Scheduled", "Late"):
        prefect_lab.call_api(f"flow_runs/{run['id']}/set_state", state={"type": "CANCELLED", "name": "Cancelled"}, force=True)
    assert not any(item["schedules"] for item in prefect_lab.deployments())
    prefect_lab.wait_until_none_runs(deployment)


@pytest.fixture(scope="module")
def lab_project(built: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The completed pipeline with its MLflow store. A module overrides this fixture to start from another state."""
    return built.copy(tmp_path_factory.mktemp("prefect_lab") / "project", store=True)


@pytest.fixture(scope="module")
def prefect_lab(lab_project: Project) -> Iterator[PrefectLab]:
    """A lab with a password, behind a proxy that does not answer."""
    with (
        webhook() as (url, webhook_messages),
        start_lab(lab_project, LESIONFLOW_WEBHOOK=url, PREFECT_SERVER_API_AUTH_STRING=PASSWORD, **DEAD_PROXY) as prefect_lab,
    ):
        prefect_lab.webhook_messages = webhook_messages
        yield prefect_lab
