"""A lab: a project of its own, with `python -m flows.serve` running its server and worker on a free port of loopback."""

import base64
import json
import os
import shutil
import signal
import socket
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

from flows.stages import STAGES
from tests.support.project import DEAD_PROXY, Project

EAGER = {"PREFECT_WORKER_QUERY_SECONDS": "2"}
"""A worker that asks for work more often than every ten seconds: tests start one run after another by hand."""


PASSWORD = "clinic:not a secret"


class Token(httpx.Auth):
    """The lab's password, and a token where the server wants one, as the page does."""

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
    limits=httpx.Limits(max_keepalive_connections=0),  # a server that is killed leaves no dead connection
    trust_env=False,
    auth=Token(),
)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def command(process: psutil.Process) -> list[str]:
    """Its program and arguments; nothing where it has ended meanwhile."""
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def _answer(found: Any) -> list[Any]:
    """An answer in a list, which is true also where the answer is that there is nothing; no answer makes an empty one."""
    return [] if found is None else [found]


def wait(what: str, look: Callable[[], Any], seconds: float = 240) -> Any:
    """What `look` finds, once it finds something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.5)
    raise AssertionError(f"waited {seconds:.0f} s for {what}")


@dataclass
class Lab:
    """A project whose flows a server and a worker run; `environment` is what a hospital would configure."""

    project: Project
    environment: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None
    told: list[str] = field(default_factory=list)
    """What the webhook was told."""

    @property
    def log(self) -> Path:
        return self.project.root / ".prefect" / "serve.log"

    def start(self) -> None:
        self.log.parent.mkdir(exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["python", "-m", "flows.serve", "--port", str(self.port)],
                cwd=self.project.root,
                env=self.project.environment(**EAGER, **self.environment),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait("the worker to start", lambda: self.ask("work_pools/lesionflow/workers/filter"), 300)
        self.child("worker")  # where the server remembers a worker of before, only this says that everything is registered anew

    def stop(self) -> float:
        """End it as `timeout` does, and people who press Ctrl-C twice; returns the seconds that this took."""
        assert self.process is not None
        started = time.monotonic()
        for number in (signal.SIGTERM, signal.SIGINT):
            self.process.send_signal(number)
            time.sleep(0.5)
        self.process.wait(90)
        return time.monotonic() - started

    def child(self, word: str) -> psutil.Process:
        """The living process that `flows.serve` started with this word in its command."""
        assert self.process is not None
        own = psutil.Process(self.process.pid)
        return wait(f"a {word}", lambda: next((child for child in own.children() if {word, f"flows.{word}"} & {*command(child)}), None))

    def ask(self, path: str, **body: Any) -> Any:
        """Ask the server's API; None while it does not answer."""
        try:
            return CLIENT.post(f"http://127.0.0.1:{self.port}/api/{path}", json=body).raise_for_status().json()
        except httpx.HTTPError:
            return None

    def runs(self, deployment: str, *states: str) -> list[dict[str, Any]]:
        """Runs of a deployment, oldest first, in any of these states: none only where the server says so."""
        chosen = {"state": {"name": {"any_": list(states)}}} if states else {}
        asked = {"deployments": {"name": {"any_": [deployment]}}, "flow_runs": chosen, "sort": "START_TIME_ASC"}
        return list(wait(f"word of the runs of {deployment}", lambda: _answer(self.ask("flow_runs/filter", **asked)), 60)[0])

    def start_run(self, flow: str, deployment: str, **parameters: Any) -> str:
        """Start a run by hand, as a person does in the page; returns its id."""
        chosen = {"deployments": {"name": {"any_": [deployment]}}, "flows": {"name": {"any_": [flow]}}}
        found = wait("the deployment", lambda: self.ask("deployments/filter", **chosen), 60)
        wanted = {"parameters": parameters, "state": {"type": "SCHEDULED"}, "idempotency_key": str(uuid.uuid4())}
        return str(wait("the run to be taken", lambda: self.ask(f"deployments/{found[0]['id']}/create_flow_run", **wanted), 60)["id"])

    def run(self, run_id: str) -> dict[str, Any]:
        """The run as it is now."""
        return dict(wait(f"word of run {run_id}", lambda: self.ask("flow_runs/filter", flow_runs={"id": {"any_": [run_id]}}), 60)[0])

    def deployments(self, *names: str) -> list[dict[str, Any]]:
        """The deployments of these names, or all."""
        chosen = {"deployments": {"name": {"any_": list(names)}}} if names else {}
        return list(wait("the deployments", lambda: self.ask("deployments/filter", **chosen), 60))

    def ended(self, run_id: str, seconds: float = 300) -> dict[str, Any]:
        """The run, once it has ended."""
        return dict(wait(f"run {run_id} to end", lambda: (run := self.run(run_id)).get("end_time") and run, seconds))

    def tasks(self, run_id: str) -> dict[str, dict[str, Any]]:
        found = self.ask("task_runs/filter", task_runs={"flow_run_id": {"any_": [run_id]}}, sort="EXPECTED_START_TIME_ASC")
        return {task["name"]: task for task in found or []}

    def stages(self, run_id: str) -> dict[str, str]:
        """Names of the final states of a run's stages; the server hears of them a little after the run's own."""

        def ended() -> dict[str, str]:
            tasks = self.tasks(run_id)
            states = {name: tasks[name] for name in STAGES if name in tasks}
            over = len(states) == len(STAGES) and all(task["state_type"] in ("COMPLETED", "FAILED", "CRASHED") for task in states.values())
            return {name: task["state_name"] for name, task in states.items()} if over else {}

        return dict(wait(f"the stages of run {run_id}", ended, 60))

    def logs(self, run_id: str) -> list[str]:
        found = self.ask("logs/filter", logs={"flow_run_id": {"any_": [run_id]}}, sort="TIMESTAMP_ASC", limit=200)
        return [entry["message"] for entry in found or []]

    def artifacts(self, run_id: str, *wanted: str) -> dict[str, Any]:
        """A run's artifacts, once these are among them: what says how it ended comes after its state."""

        def found() -> dict[str, Any]:
            listed = self.ask("artifacts/filter", artifacts={"flow_run_id": {"any_": [run_id]}}) or []
            data = {artifact["key"]: artifact["data"] for artifact in listed}
            return data if set(wanted) <= set(data) else {}

        return dict(wait(f"{', '.join(wanted)} of run {run_id}", found, 60))

    def gone(self) -> None:
        """Wait until every run's process has ended, and has said whatever it says after its state."""
        wait("runs' processes to end", lambda: not self.child("worker").children(), 60)

    def schedule(self, name: str, **schedule: Any) -> None:
        """Give a deployment another schedule in prefect.yaml, and none to the others."""
        path = self.project.root / "prefect.yaml"
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        for item in document["deployments"]:
            item["schedules"] = [{**schedule, "active": True}] if item["name"] == name else []
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")

    def deploy(self) -> None:
        self.project.run("python", "-m", "flows.deploy", PREFECT_API_URL=f"http://127.0.0.1:{self.port}/api", **self.environment)

    def commit(self) -> None:
        self.project.run("git", "add", "-A")
        self.project.run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "settings")


@contextmanager
def webhook() -> Iterator[tuple[str, list[str]]]:
    """A web server that takes messages: its URL, and the texts it was told."""
    told: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", told
    finally:
        server.shutdown()


@contextmanager
def lab_of(project: Project, **environment: str) -> Iterator[Lab]:
    """A lab on a project, where nothing is scheduled yet; whatever it left running is killed in the end."""
    lab = Lab(project, environment)
    lab.schedule("none")
    lab.commit()
    try:
        lab.start()
        yield lab
    finally:
        if lab.process is not None and lab.process.poll() is None:
            lab.stop()
        for process in psutil.process_iter(["cwd"]):
            if process.pid != os.getpid() and (process.info["cwd"] or "").startswith(str(project.root)):
                process.kill()


@pytest.fixture(scope="module")
def lab(built: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab behind a proxy that answers nothing, with a password: a new checkout, where nothing was run yet, beside the registry and
    DVC's cache of an earlier one."""
    made = built.copy(tmp_path_factory.mktemp("lab") / "project", store=True)
    for name in ("build", "reports"):
        shutil.rmtree(made.root / name)
    (made.root / "dvc.lock").unlink()
    with (
        webhook() as (url, told),
        lab_of(made, LESIONFLOW_WEBHOOK=url, PREFECT_SERVER_API_AUTH_STRING=PASSWORD, **DEAD_PROXY) as lab,
    ):
        lab.told = told
        yield lab
