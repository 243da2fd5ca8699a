"""What a request passes before a route sees it."""

import asyncio
import time

import pytest
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from app.server.doors import attempts, sessions
from app.server.doors.attempts import Attempts, network
from app.server.doors.head import Head
from app.server.doors.limits import Limits
from app.server.doors.origin import is_foreign
from app.server.doors.sessions import Sessions
from app.server.doors.unread import Unread
from app.server.errors import Refusal
from app.server.settings import Settings, Tls
from tests.support.fake_service import HOST, KEY, fake_client, picture

SIGNED = {"Authorization": f"Bearer {KEY}"}
PAGE = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with fake_client(tmp_path_factory.mktemp("version")) as client:
        yield client


@pytest.fixture
def guarded(tmp_path, monkeypatch):
    monkeypatch.setattr(attempts, "PAUSE", 0)
    with fake_client(tmp_path, key=KEY) as client:
        yield client


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]", "[::1]:8000"])
def test_host_on_the_list_passes(client, host):
    assert client.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "", "[::2]", "localhost@evil", "[::1"])
def test_other_host_is_refused_everywhere(client, host):
    for path in ("/health", "/v1/model", "/"):
        answer = client.get(path, headers={"Host": host})
        assert answer.status_code == 421 and "host name" in answer.json()["error"]


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ({}, False),
        ({"Origin": "http://127.0.0.1"}, False),
        ({"Origin": "https://127.0.0.1:443", "Sec-Fetch-Site": "same-origin"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Origin": "null"}, True),
        ({"Origin": ""}, True),
        ({"Origin": "http://127.0.0.1:8001"}, True),
        ({"Origin": "http://127.0.0.1.evil.example"}, True),
        ({"Origin": "file://"}, True),
        ({"Origin": "http://[::1"}, True),
        ({"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "cross-site"}, True),
        ({"Sec-Fetch-Site": "same-site"}, True),
    ],
)
def test_page_of_another_site_cannot_compute(client, headers, foreign):
    assert is_foreign(Headers({"Host": "127.0.0.1", **headers})) is foreign
    answer = client.post("/v1/predict", content=picture(), headers=headers)
    assert answer.status_code == (403 if foreign else 200)
    assert client.get("/v1/model", headers=headers).status_code == 200  # reading gives another site nothing


def test_service_without_key_asks_for_none(client):
    assert client.get("/v1/model").status_code == 200
    assert client.get("/sign-in").headers["Location"] == "/"


def test_only_health_readiness_and_the_form_are_open(guarded):
    for path in ("/health", "/ready", "/sign-in"):
        assert guarded.get(path).status_code == 200
    for path in ("/", "/v1/model", "/v1/card", "/metrics", "/openapi.json", "/docs", "/about", "/review", "/no-such-page"):
        assert guarded.get(path).status_code == 401
    answer = guarded.post("/v1/predict", content=picture())
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="lesionflow"')


def test_key_in_the_header_opens(guarded):
    assert guarded.post("/v1/predict", content=picture(), headers=SIGNED).status_code == 200
    assert guarded.get("/v1/model", headers={"Authorization": f"bearer   {KEY}"}).status_code == 200
    for wrong in (f"Bearer {KEY}x", f"Basic {KEY}", KEY, "Bearer", "Bearer \xff"):
        assert guarded.get("/v1/model", headers={"Authorization": wrong.encode("latin-1")}).status_code == 401


@pytest.mark.parametrize("query", ["key=x", "api_key=", "API-Key=1", "access_token=x", "Authorization=Bearer+x", f"q={KEY}"])
def test_key_in_the_address_is_refused_even_with_the_right_header(guarded, query, capfd):
    answer = guarded.get(f"/v1/model?{query}", headers=SIGNED)
    assert answer.status_code == 400 and "do not belong into addresses" in answer.json()["error"]
    assert guarded.get(f"/v1/model?{query}").status_code == (401 if KEY in query else 400)  # a right guess looks like a wrong one
    assert KEY not in capfd.readouterr().err


def test_person_signs_in_once_and_out(guarded):
    assert guarded.get("/", headers=PAGE).headers["Location"] == "/sign-in"
    assert "The key is wrong." in guarded.post("/sign-in", data={"key": "wrong"}).text
    answer = guarded.post("/sign-in", data={"key": f" {KEY} "})
    cookie = answer.headers["Set-Cookie"]
    assert answer.headers["Location"] == "/" and KEY not in cookie
    assert cookie.endswith("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict")
    assert guarded.get("/v1/model").status_code == 200
    token = guarded.cookies["lesionflow"]
    guarded.post("/sign-out")
    assert guarded.get("/v1/model", headers={"Cookie": f"lesionflow={token}"}).status_code == 401


def test_cookie_is_secure_with_tls_or_behind_a_proxy(tmp_path):
    for number, changes in enumerate(({"behind_proxy": True}, {"tls": Tls(tmp_path / "a", tmp_path / "b")})):
        with fake_client(tmp_path / str(number), key=KEY, **changes) as client:
            cookie = client.post("/sign-in", data={"key": KEY}).headers["Set-Cookie"]
            assert cookie.startswith("__Host-lesionflow=") and cookie.endswith("; Secure")


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"data": {}}, 401),
        ({"data": {"key": "x" * 5000}}, 413),
        ({"json": {"key": KEY}}, 415),
        ({"content": b"key=\xff", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}, 400),
        ({"content": b"a=1&b=2&c=3&d=4&key=1", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}, 400),
        ({"data": {"key": KEY}, "headers": {"Origin": "http://evil.example"}}, 403),
    ],
)
def test_form_of_the_key_takes_nothing_else(guarded, options, status):
    options = {**options, "headers": {"Content-Type": "application/x-www-form-urlencoded", **options.get("headers", {})}}
    if "json" in options:
        options["headers"] = {}
    assert guarded.post("/sign-in", **options).status_code == status


def test_wrong_keys_are_slowed_and_the_right_one_still_opens(guarded):
    wrong = [guarded.get("/v1/model", headers={"Authorization": f"Bearer {number:032}"}) for number in range(100)]
    statuses = [answer.status_code for answer in wrong]
    assert set(statuses[:10]) == {401} and set(statuses) == {401, 429} and statuses.count(401) < 30
    assert next(answer.headers["Retry-After"] for answer in wrong if answer.status_code == 429) == "5"
    assert guarded.get("/v1/model", headers=SIGNED).status_code == 200
    assert guarded.post("/sign-in", data={"key": KEY}).status_code == 303


def test_wrong_keys_wait_and_are_counted_by_network(monkeypatch):
    monkeypatch.setattr(attempts, "PAUSE", 0.05)

    async def attempt(counted, addresses):
        return [await counted.wrong(address) for address in addresses]

    began = time.perf_counter()
    found = asyncio.run(attempt(Attempts(), ["10.0.0.1"] * 12))
    assert found == [False] * 10 + [True] * 2 and time.perf_counter() - began >= 0.1
    assert asyncio.run(attempt(Attempts(), [f"2001:db8::{number}" for number in range(11)]))[-1]
    assert not any(asyncio.run(attempt(Attempts(), [f"10.0.0.{number}" for number in range(100)])))
    assert any(asyncio.run(attempt(Attempts(), [f"10.0.{number}.1" for number in range(202)])))  # together, too
    assert network("not an address") == "unknown"


def test_session_ends_after_its_time_and_the_oldest_where_there_are_too_many(monkeypatch):
    running, now = Sessions(), time.monotonic()
    token = running.begin()
    assert running.is_valid(token) and not running.is_valid(token[:-1]) and not running.is_valid("")
    monkeypatch.setattr(sessions.time, "monotonic", lambda: now + sessions.SECONDS + 60)
    assert not running.is_valid(token)
    monkeypatch.setattr(sessions, "MOST", 2)
    tokens = [running.begin() for _ in range(3)]
    assert [running.is_valid(token) for token in tokens] == [False, True, True]


def passed(application, headers=(), messages=()):
    """Send a request through a door; return what it sent."""
    sent, waiting = [], list(messages)
    scope = {"type": "http", "method": "POST", "path": "/v1/predict", "query_string": b"", "headers": list(headers), "state": {}}

    async def receive():
        if not waiting:
            await asyncio.sleep(60)
        return waiting.pop(0)

    async def send(message):
        sent.append(message)

    asyncio.run(application(scope, receive, send))
    return sent


def piece(content, more=True):
    return {"type": "http.request", "body": content, "more_body": more}


async def reader(_scope, receive, send):
    while (message := await receive()).get("more_body"):
        pass
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


LIMITED = Settings("skin", max_images=1, max_image_bytes=1000, request_seconds=0.2)
MOST = 1_001_000


async def never(*_):
    raise AssertionError


@pytest.mark.parametrize("length", [str(MOST + 1).encode(), b"9" * 400])
def test_body_is_refused_before_it_is_read(length):
    assert passed(Limits(never, LIMITED), [(b"content-length", length)])[0]["status"] == 413


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(b"content-length", b"5"), (b"transfer-encoding", b"chunked")], 400),
        ([(b"content-length", b"5"), (b"content-length", b"6")], 400),
        ([(b"content-length", b"-1")], 400),
        ([(b"x", b"y" * 17_000)], 431),
        ([(b"x", b"y")] * 101, 431),
    ],
)
def test_head_that_is_not_sound_is_refused(headers, status):
    assert passed(Head(never), headers)[0]["status"] == status


def test_long_address_is_refused(client):
    assert client.get(f"/v1/model?x={'y' * 5000}").status_code == 414


def test_body_is_limited_while_it_is_read():
    with pytest.raises(Refusal, match="larger than 1,001,000 bytes") as refused:
        passed(Limits(reader, LIMITED), messages=[piece(b"1" * MOST), piece(b"1")])
    assert refused.value.status == 413
    with pytest.raises(Refusal, match=r"did not arrive within 0\.2 seconds") as refused:
        passed(Limits(reader, LIMITED), messages=[piece(b"1")])
    assert refused.value.status == 408
    assert passed(Limits(reader, LIMITED), messages=[piece(b"1" * MOST, more=False)])[0]["status"] == 200


def test_bodies_of_all_requests_together_are_limited():
    limits = Limits(reader, LIMITED)
    limits._held = 4 * MOST
    with pytest.raises(Refusal) as refused:
        passed(limits, messages=[piece(b"1")])
    assert refused.value.status == 503 and limits._held == 4 * MOST  # what it held is free again


def test_rest_of_a_refused_body_is_read_before_the_connection_closes():
    async def refuse(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 413, "headers": []})
        await send({"type": "http.response.body", "body": b"no"})

    messages = [piece(b"1"), piece(b"2"), piece(b"3", more=False)]
    start, body, end = passed(Unread(refuse), [(b"content-length", b"3")], messages)
    assert (b"connection", b"close") in [(name.lower(), value) for name, value in start["headers"]]
    assert (body["body"], body["more_body"], end["more_body"]) == (b"no", True, False)
    waits = [(b"content-length", b"3"), (b"expect", b"100-continue")]
    assert passed(Unread(refuse), waits, messages)[1]["more_body"] is True


def test_every_response_has_an_id_and_the_security_headers(client):
    answers = [client.get(path) for path in ("/health", "/v1/model", "/no-such-page", "/", "/static/page.css", "/docs")]
    for answer in answers:
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'; img-src 'self' data:;")
        assert answer.headers["X-Content-Type-Options"] == "nosniff" and answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answer.headers["Cache-Control"] == "no-store" or "static" in str(answer.url)
    assert len({answer.headers["X-Request-Id"] for answer in answers}) == len(answers)
    assert answers[0].url == f"{HOST}/health"


def test_addresses_that_do_not_exist_have_one_sentence_each(client):
    assert client.get("/v1/nothing").json()["error"] == "This address does not exist."
    wrong = client.get("/v1/predict")
    assert (wrong.status_code, wrong.headers["Allow"], wrong.json()["error"]) == (405, "POST", "This address does not take this method.")
    page = client.get("/nothing", headers=PAGE)
    assert page.status_code == 404 and page.headers["Content-Type"].startswith("text/html") and "does not exist" in page.text
