import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks import serving
from benchmarks.harness import clients

MILLISECONDS = {"low": 1.0, "median": 20.0, "high": 3.0}
DOCUMENT = {
    "machine": "here",
    "rounds": 5,
    "views": 2,
    "milliseconds": {
        "bare interpreter": {**MILLISECONDS, "median": 10.0},
        "predictor in process": MILLISECONDS,
        "POST /v1/predict": {**MILLISECONDS, "median": 25.0},
    },
    "clients": {"number": 20, "median": 100.0, "p99": 310.0, "per_processor_second": 45.0, "per_second": 90.0},
    "predictor_per_processor_second": 50.0,
    "ready_seconds": 2.5,
}
SOAK = {
    "machine": "here",
    "seconds": 120,
    "sent_per_second": 50.0,
    "statuses": {"200": 3000, "503": 2990, "500": 1},
    "failures": {"TimeoutError": 2},
    "median_ms": 300.0,
    "p99_ms": 400.0,
    "memory_mb": {"first_tenth": 100.0, "last_tenth": 106.0, "most": 107.0},
}


class Handler(BaseHTTPRequestHandler):
    """Answers 200, and every third request 503."""

    protocol_version = "HTTP/1.1"
    requests = 0

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        Handler.requests += 1
        self.send_response(503 if Handler.requests % 3 == 0 else 200)
        self.send_header(clients.VERSION, "7")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, *_):
        pass


@pytest.fixture
def url():
    Handler.requests = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def cells(text: str, name: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {name} ")]
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_report_holds_measurements_against_targets():
    text = serving.report(DOCUMENT)
    assert cells(text, "/v1/predict by the predictor in process, medians") == ["1.25", "<= 1.5", "met"]
    assert cells(text, "20 clients: p99 by median") == ["3.10", "<= 3", "MISSED"]
    assert cells(text, "service by predictor") == ["0.90", ">= 0.8", "met"]
    assert cells(text, "POST /v1/predict")[2:] == ["2.50", "1.25"]


def test_soak_counts_every_answer_that_is_not_200_or_503():
    text = serving.soak_report(SOAK)
    assert cells(text, "other answers or none") == ["3", "<= 0", "MISSED"]
    assert cells(text, "memory of the last tenth by that of the first")[2] == "MISSED"


def test_clients_count_statuses_and_versions(url):
    found = clients.send(url, [(b"x", "image/jpeg")], clients=3, seconds=0.3)
    assert set(found.statuses) == {200, 503}
    assert found.versions == {"7": found.statuses[200]}
    assert len(found.milliseconds) == found.statuses[200]
    assert not found.failures


def test_clients_together_keep_the_rate(url):
    found = clients.send(url, [(b"x", "image/jpeg")], clients=4, seconds=1, rate=40)
    assert 20 <= found.statuses.total() <= 50


def test_connection_that_fails_is_counted():
    found = clients.send("http://127.0.0.1:9", [(b"x", "image/jpeg")], clients=1, seconds=0.1, rate=50)
    assert found.failures["ConnectionRefusedError"] > 0
    assert not found.statuses
