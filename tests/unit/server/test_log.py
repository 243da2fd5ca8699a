"""One line for each request, which holds nothing of its content."""

import re

import pytest

from tests.support.fake_service import fake_client, picture

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info id=([0-9a-f]{16}) (\S+) (\S+) version=(\S+) status=(\d+) ms=\d+\.\d")


@pytest.fixture
def client(tmp_path):
    with fake_client(tmp_path) as client:
        yield client


def lines(capfd):
    return [LINE.fullmatch(line) for line in capfd.readouterr().err.splitlines()]


def test_line_has_id_method_route_version_and_status(client, capfd):
    answer = client.post("/v1/predict", content=picture())
    (line,) = lines(capfd)
    assert line.groups() == (answer.headers["X-Request-Id"], "POST", "/v1/predict", "3", "200")


def test_route_is_a_template_and_unknown_addresses_and_methods_are_not_told(client, capfd):
    client.get("/v1/similar/7.jpg?version=3")
    client.get("/secret-name/of/a/patient?name=Müller")
    client.request("MUELLER", "/v1/model")
    client.get("/static/patient.css")
    assert [line.groups()[1:] for line in lines(capfd)] == [
        ("GET", "/v1/similar/{number}.jpg", "-", "404"),
        ("GET", "-", "-", "404"),
        ("OTHER", "/v1/model", "-", "405"),
        ("GET", "-", "-", "404"),
    ]


def test_nothing_of_the_request_is_logged(client, capfd):
    bad = b'--b\r\nContent-Disposition: form-data; name="image"; filename="Mueller.jpg"\r\nX-Mueller\xff: Mueller\r\n\r\nMueller\r\n--b--'
    headers = {"Content-Type": "multipart/form-data; boundary=b", "User-Agent": "Mueller", "X-Request-Id": "Mueller", "Referer": "Mueller"}
    assert client.post("/v1/predict", content=bad, headers=headers).status_code == 400
    client.post("/v1/predict", content=b"Mueller", headers=headers)
    client.post("/v1/explain?output=Mueller", content=picture())
    found = capfd.readouterr()
    assert "Mueller" not in found.err + found.out and len(found.err.splitlines()) == 3


def test_unexpected_error_is_logged_without_its_message(client, capfd, monkeypatch):
    def fails(_content):
        try:
            int("Mueller")
        except ValueError as fault:
            raise RuntimeError("of patient Mueller") from fault

    monkeypatch.setattr(client.app.state.engine.predictor, "predict", fails)
    answer = client.post("/v1/predict", content=picture())
    assert answer.status_code == 500 and answer.json()["request_id"] == answer.headers["X-Request-Id"]
    log = capfd.readouterr().err
    assert "RuntimeError" in log and "caused by builtins.ValueError" in log and f"id={answer.headers['X-Request-Id']}" in log
    assert "in fails" in log and "Mueller" not in log + answer.text
    monkeypatch.undo()
    assert client.post("/v1/predict", content=picture()).status_code == 200


def test_page_that_cannot_be_rendered_is_answered_and_logged_like_another_error(client, capfd, monkeypatch):
    def fails(*_):
        raise RuntimeError("Mueller")

    monkeypatch.setattr("app.server.errors.error_page", fails)
    answer = client.get("/no-such-page", headers={"Accept": "text/html"})
    assert answer.status_code == 500 and answer.json()["error"].startswith("The service failed.")
    assert "Mueller" not in capfd.readouterr().err
