"""Commands in unusual environments: proxies, unsupported platforms, users without a name."""

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


def clean_environment(**variables: str) -> dict[str, str]:
    """The environment of this process without variables of user, home and proxy."""
    removed = ("PROXY", "USER", "LOGNAME", "LNAME", "USERNAME", "HOME")
    return {
        **{name: value for name, value in os.environ.items() if not name.upper().endswith(removed)},
        "PYTHONPATH": str(ROOT),
        **variables,
    }


def python(code: str, *prefix: str, **variables: str) -> str:
    result = subprocess.run(
        [*prefix, sys.executable, "-c", code], env=clean_environment(**variables), cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", "127.0.0.1,localhost,::1"),
        ("intranet, .clinic.org", "intranet,.clinic.org,127.0.0.1,localhost,::1"),
        ("localhost,127.0.0.1,::1", "localhost,127.0.0.1,::1"),
        ("*", "*"),
    ],
)
def test_without_proxy_adds_loopback(value, expected):
    assert environment.without_proxy(value) == expected
    assert environment.without_proxy(expected) == expected


@pytest.mark.parametrize("module", ["components.runtime.stage", "components.tracking.store", "app.cli", "flows", "flows.serve"])
def test_commands_reach_local_server_when_proxy_is_configured(module):
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
def test_unsupported_platform_is_reported_in_one_line(module):
    code = f"import os, click; os.name = 'nt'; del os.EX_TEMPFAIL; import {module}"
    result = subprocess.run([sys.executable, "-c", code], env=clean_environment(), cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert result.stderr == "error: Lesionflow runs on Linux and macOS. On Windows, run it in WSL (`wsl --install`).\n"


@pytest.mark.parametrize("module", ["components.registry.promotion", "app.cli", "flows"])
def test_user_without_name_is_recorded_by_id(module):
    code = f"import {module}, getpass; print(getpass.getuser())"
    assert python(code, *nameless_or_skip()) == "user id 54321"
