"""A started service with a key: who comes in."""

import socket
import threading
import time

import pytest

from tests.support.fake_service import KEY, picture
from tests.support.raw_http import http, received
from tests.support.service import running_service

MARK = "Mueller"
RIGHT = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def guarded(served, tmp_path_factory):
    folder = tmp_path_factory.mktemp("guarded")
    path = folder / "key"
    path.write_text(f"{KEY}\n", encoding="ascii")
    path.chmod(0o600)
    with running_service(served, folder / "serve.log", LESIONFLOW_API_KEY_FILE=str(path)) as started:
        yield started


def test_programs_come_in_with_the_key_and_people_with_a_session(guarded):
    image = picture(1, 200)
    with guarded.client() as client:
        assert client.get("/ready").status_code == 200
        assert [client.get(path).status_code for path in ("/", "/v1/model", "/metrics", "/docs")] == [401] * 4
        assert client.post("/v1/predict", content=image).status_code == 401
        assert client.post("/v1/predict", content=image, headers=RIGHT).status_code == 200
        page = {"Accept": "text/html", "Origin": guarded.url, "Sec-Fetch-Site": "same-origin"}
        assert client.get("/", headers=page).headers["Location"] == "/sign-in"
        signed = client.post("/sign-in", data={"key": KEY}, headers=page)
        assert signed.headers["Location"] == "/" and "HttpOnly; SameSite=Strict" in signed.headers["Set-Cookie"]
        assert client.get("/", headers=page).status_code == 200
        assert client.post("/v1/predict", content=image).status_code == 200
        assert client.post("/v1/predict", content=image, headers={"Origin": "http://evil.example"}).status_code == 403
        client.post("/sign-out", headers=page)
        assert client.get("/v1/model").status_code == 401
    assert KEY not in guarded.log.read_text(encoding="utf-8")


def wrong_keys(url: str, count: int) -> list[int]:
    """The statuses of attempts on one connection."""
    host, port = url.removeprefix("http://").split(":")
    found = []
    with socket.create_connection((host, int(port)), timeout=60) as connected:
        for number in range(count):
            request = http(method="GET", path="/v1/model", authorization=f"Bearer {MARK}{number}")
            connected.sendall(request.replace(b"HOST", host.encode()))
            found.append(int(received(connected).split(b" ")[1]))
    return found


def test_thousand_wrong_keys_leave_the_service_to_those_who_have_the_right_one(guarded):
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.extend(wrong_keys(guarded.url, 20))) for _ in range(50)]
    began = time.monotonic()
    with guarded.client() as client:
        for thread in threads:
            thread.start()
        assert client.get("/v1/model", headers=RIGHT).status_code == 200  # while they try
        for thread in threads:
            thread.join()
        assert time.monotonic() - began > 1
        assert len(statuses) == 1000 and set(statuses) == {401, 429} and statuses.count(401) < 50
        assert client.get("/v1/model", headers=RIGHT).status_code == 200
        assert client.get(f"/v1/model?q={KEY}", headers=RIGHT).status_code == 400
    log = guarded.log.read_text(encoding="utf-8")
    assert KEY not in log and MARK not in log
