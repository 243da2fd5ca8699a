"""How `lesionflow serve` starts and ends."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.support.images import encoded, textured
from tests.support.project import Project
from tests.support.service import running_service, serve_command


def test_service_is_ready_and_names_its_version(service):
    with service.client() as client:
        assert client.get("/health").json() == {"healthy": True}
        assert client.get("/ready").json() == {"ready": True, "version": "1", "problem": None}
        assert 'lesionflow_version_info{model="skin-lesion-mobilenetv2",version="1"} 1.0' in client.get("/metrics").text


def test_running_request_is_answered_after_an_interrupt(served, tmp_path):
    large = encoded(textured(1, 3000, 2250))
    with running_service(served, tmp_path / "serve.log", "--threads", "1") as started, started.client() as client:
        client.get("/health")
        connection = socket.create_connection(("127.0.0.1", int(started.url.rpartition(":")[2])))
        head = f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: {len(large)}\r\n\r\n"
        connection.sendall(head.encode() + large)
        while "lesionflow_running 1.0" not in client.get("/metrics").text:
            time.sleep(0.005)
        started.process.send_signal(signal.SIGTERM)
        assert connection.recv(12) == b"HTTP/1.1 200"
        assert started.process.wait(10) == 0


def test_no_process_is_left_when_it_is_killed(served, tmp_path):
    with running_service(served, tmp_path / "serve.log") as started:
        (child,) = psutil.Process(started.process.pid).children()
        started.process.kill()
        started.process.wait(10)
        child.wait(10)
        assert not child.is_running()


def test_process_that_asks_is_started_again_and_ends_with_the_service(served, tmp_path):
    with running_service(served, tmp_path / "serve.log") as started, started.client() as client:
        service = psutil.Process(started.process.pid)
        (first,) = service.children()
        first.kill()
        end = time.monotonic() + 20
        while not (others := [child for child in service.children() if child.pid != first.pid]):
            assert client.get("/ready").status_code == 200
            assert time.monotonic() < end
            time.sleep(0.1)
        assert started.end(signal.SIGINT) == 0
        assert not others[0].is_running()
        assert not any("Traceback" in line for line in started.lines())


def test_process_that_answers_has_no_heavy_library(service):
    with service.client() as client:
        assert client.post("/v1/predict", content=encoded(textured(1)), headers={"Content-Type": "image/jpeg"}).status_code == 200
    libraries = Path(f"/proc/{service.process.pid}/maps").read_text(encoding="utf-8")
    assert "ai_edge_litert" in libraries
    assert not [name for name in ("tensorflow/", "pandas/", "scipy/", "sqlalchemy/", "matplotlib/") if name in libraries]


def test_modules_of_the_service_are_light():
    code = "import json, sys, app.cli, app.server.command, app.server.options; print(json.dumps(list(sys.modules)))"
    modules = {name.partition(".")[0] for name in json.loads(subprocess.check_output([sys.executable, "-c", code], text=True))}
    assert not modules & {"tensorflow", "keras", "mlflow", "pandas", "prefect", "dvc", "scipy", "sklearn", "sqlalchemy"}


def test_port_in_use_is_told_in_one_sentence(served):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = subprocess.run(
            serve_command("--port", str(port)),
            cwd=served,
            env=Project(served).environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, f"error: port {port} of 127.0.0.1 is in use. Name another with --port\n")
