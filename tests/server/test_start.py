"""How `lesionflow serve` starts and ends."""

import signal
import socket
import subprocess

from tests.support.project import Project
from tests.support.service import running_service, serve_command


def test_service_is_ready_and_names_its_version(service):
    with service.client() as client:
        assert client.get("/health").json() == {"healthy": True}
        assert client.get("/ready").json() == {"ready": True, "version": "1", "problem": None}
        assert 'lesionflow_version_info{model="skin-lesion-mobilenetv2",version="1"} 1.0' in client.get("/metrics").text


def test_interrupt_ends_it(built, tmp_path):
    for number in (signal.SIGINT, signal.SIGTERM):
        with running_service(built.root, tmp_path / "serve.log") as started:
            assert started.end(number) == 0
            assert not any("Traceback" in line for line in started.lines())


def test_port_in_use_is_told_in_one_sentence(built):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = subprocess.run(
            serve_command("--port", str(port)),
            cwd=built.root,
            env=Project(built.root).environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, f"error: port {port} of 127.0.0.1 is in use. Name another with --port\n")
