"""What a command makes of the environment it is started in: proxies, platforms, users without a name."""

import os
import subprocess
import sys
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from components.runtime import environment
from tests.support.project import DEAD_PROXY, ROOT, nameless_or_skip

pytestmark = pytest.mark.slow


def bare(**variables: str) -> dict[str, str]:
    """This process's environment without users, homes and proxies."""
    left = ("PROXY", "USER", "LOGNAME", "LNAME", "USERNAME", "HOME")
    return {**{name: value for name, value in os.environ.items() if not name.upper().endswith(left)}, "PYTHONPATH": str(ROOT), **variables}


def python(code: str, *before: str, **variables: str) -> str:
    done = subprocess.run(
        [*before, sys.executable, "-c", code], env=bare(**variables), cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("", "127.0.0.1,localhost,::1"),
        ("intranet, .clinic.org", "intranet,.clinic.org,127.0.0.1,localhost,::1"),
        ("localhost,127.0.0.1,::1", "localhost,127.0.0.1,::1"),
        ("*", "*"),
    ],
)
def test_loopback_is_added_to_the_hosts_that_need_no_proxy(value, wanted):
    assert environment.without_proxy(value) == wanted
    assert environment.without_proxy(wanted) == wanted


@pytest.mark.parametrize("module", ["components.runtime.stage", "components.tracking.store", "app.cli", "flows", "flows.serve"])
def test_every_command_reaches_a_server_on_this_machine_directly_where_a_proxy_is_configured(module):
    class Hello(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *_: object) -> None:
            """Tests print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    with closing(server.socket):
        code = f"import httpx, requests, {module}; print(httpx.get({url!r}).text, requests.get({url!r}, timeout=9).text)"
        assert python(code, **DEAD_PROXY) == "hello hello"
        server.shutdown()


@pytest.mark.parametrize("module", ["components.runtime.stage", "app.cli", "flows.training", "flows.serve"])
def test_a_platform_that_is_not_supported_is_named_in_one_line(module):
    code = f"import os, click; os.name = 'nt'; del os.EX_TEMPFAIL; import {module}"
    done = subprocess.run([sys.executable, "-c", code], env=bare(), cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == "error: Lesionflow runs on Linux and macOS. On Windows, run it in WSL (`wsl --install`).\n"


@pytest.mark.parametrize("module", ["components.registry.promotion", "app.cli", "flows"])
def test_a_user_without_a_name_is_recorded_by_the_id(module):
    code = f"import {module}, getpass; print(getpass.getuser())"
    assert python(code, *nameless_or_skip()) == "user id 54321"
