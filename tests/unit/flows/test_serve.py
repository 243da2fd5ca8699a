import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace

import psutil
import pytest

from flows import serve
from flows.deploy import SET_FOLDER, folders

pytestmark = pytest.mark.slow

IGNORES_SIGTERM = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def test_end_kills_unresponsive_children_within_ten_seconds():
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {IGNORES_SIGTERM!r}]); {IGNORES_SIGTERM}"
    children = [serve.SupervisedProcess(name, sys.executable, "-c", code) for name in ("server", "worker")]
    started = time.monotonic()
    while any(len(child.family()) < 2 for child in children):
        assert time.monotonic() < started + 60
        time.sleep(0.2)
    time.sleep(1)
    processes = [process for child in children for process in child.family()]
    started = time.monotonic()
    serve.end(children)
    assert time.monotonic() - started < 10
    _, alive = psutil.wait_procs(processes, 5)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_serve_refuses_port_of_another_program(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PREFECT_API_URL", "")
    monkeypatch.delenv("PREFECT_API_URL")
    monkeypatch.setattr(sys, "argv", ["serve", "--port", str(server.server_port)])
    with pytest.raises(SystemExit, match=rf"^error: port {server.server_port} is used by another program\."):
        serve.main()
    server.shutdown()


def test_folders_lists_working_folders_of_own_deployments():
    own = SimpleNamespace(name="verify", pull_steps=[{SET_FOLDER: {"directory": "/srv/here"}}])
    cloned = SimpleNamespace(name="verify", pull_steps=[{"prefect.deployments.steps.git_clone": {"repository": "https://x"}}])
    without_pull_steps = SimpleNamespace(name="verify", pull_steps=None)
    foreign = SimpleNamespace(name="somebody's own", pull_steps=[{SET_FOLDER: {"directory": "/srv/there"}}])
    assert folders([own, cloned, without_pull_steps, foreign], {"verify"}) == {"/srv/here"}
