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

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def test_children_that_do_not_end_and_their_runs_are_killed_within_ten_seconds():
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {STUBBORN!r}]); {STUBBORN}"
    children = [serve.SupervisedProcess(name, sys.executable, "-c", code) for name in ("server", "worker")]
    started = time.monotonic()
    while any(len(child.family()) < 2 for child in children):
        assert time.monotonic() < started + 60
        time.sleep(0.2)
    time.sleep(1)
    family = [process for child in children for process in child.family()]
    started = time.monotonic()
    serve.end(children)
    assert time.monotonic() - started < 10
    _, alive = psutil.wait_procs(family, 5)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_a_port_that_is_not_a_prefect_servers_is_named(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PREFECT_API_URL", "")
    monkeypatch.delenv("PREFECT_API_URL")
    monkeypatch.setattr(sys, "argv", ["serve", "--port", str(server.server_port)])
    with pytest.raises(SystemExit, match=rf"^error: port {server.server_port} is used by another program\."):
        serve.main()
    server.shutdown()


def test_deployments_name_their_folder_unless_they_clone_the_code():
    here = SimpleNamespace(name="verify", pull_steps=[{SET_FOLDER: {"directory": "/srv/here"}}])
    cloned = SimpleNamespace(name="verify", pull_steps=[{"prefect.deployments.steps.git_clone": {"repository": "https://x"}}])
    bare = SimpleNamespace(name="verify", pull_steps=None)
    another = SimpleNamespace(name="somebody's own", pull_steps=[{SET_FOLDER: {"directory": "/srv/there"}}])
    assert folders([here, cloned, bare, another], {"verify"}) == {"/srv/here"}
