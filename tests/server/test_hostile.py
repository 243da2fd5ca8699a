"""Uploads and requests that are meant to do harm: one clear refusal each, and the service goes on."""

import io
import json
import socket
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from app.server import connection
from tests.support.fake_service import picture, started_application
from tests.support.images import png_header
from tests.support.raw_http import http, received, sent

MARK = "Mueller"
"""In all that the log must not have."""
NAME = f"{MARK}\x07\x1b[31m\x00".encode()


@dataclass(frozen=True)
class Attack:
    """A request, as bytes without its Host header, and the status that refuses it; `plain`: uvicorn refuses it, in plain text."""

    request: bytes
    status: int
    plain: bool = False


def part(content: bytes, name: bytes = b"a.jpg", more: bytes = b"") -> bytes:
    return b'--b\r\nContent-Disposition: form-data; name="image"; filename="' + name + b'"\r\n' + more + b"\r\n" + content + b"\r\n"


def form(*parts: bytes, end: bytes = b"--b--\r\n", kind: str = "multipart/form-data; boundary=b", **headers: object) -> bytes:
    return http(b"".join(parts) + end, content_type=kind, **headers)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def zip_bomb() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{MARK}.jpg", bytes(20_000_000))
    return stream.getvalue()


PNG, JPEG = picture(1), picture(2, form="JPEG")
SVG = f'<svg xmlns="http://www.w3.org/2000/svg"><script>alert("{MARK}")</script></svg>'.encode()
CHUNKED = {"content_length": None, "transfer_encoding": "chunked", "content_type": "image/png"}
FORM = "application/x-www-form-urlencoded"

ATTACKS = {
    "10,000 parts": Attack(form(*[part(JPEG[:20])] * 10_000), 413),
    "10,000 empty choices": Attack(form(*[part(b"", b"")] * 10_000), 413),
    "a part without end": Attack(form(part(JPEG), end=b""), 400),
    "a part whose headers do not end": Attack(form(part(b"", more=b"x: y\r\n" * 5000)), 400),
    "10 KB of control characters as file name": Attack(form(part(JPEG, NAME * 800)), 400),
    "SVG": Attack(form(part(SVG)), 415),
    "HTML named .jpg": Attack(form(part(b"<html><script>1</script>", b"Mueller.jpg", b"Content-Type: image/jpeg\r\n")), 415),
    "zip bomb": Attack(http(zip_bomb(), content_type="image/jpeg"), 415),
    "PNG of 50,000 x 50,000 px": Attack(http(png_header(50_000, 50_000)), 422),
    "PNG with 100 MB of text": Attack(http(PNG[:33] + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000_000))) + PNG[33:]), 422),
    "PNG with 10,000 chunks": Attack(http(PNG[:33] + chunk(b"tEXt", b"a\0b") * 10_000 + PNG[33:]), 422),
    "JPEG with 10,000 segments": Attack(http(JPEG[:2] + b"\xff\xfe\x00\x04ab" * 10_000 + JPEG[2:]), 422),
    "truncated PNG": Attack(http(PNG[: len(PNG) // 2]), 422),
    "empty body": Attack(http(content_type="image/png"), 422),
    "no boundary": Attack(form(part(JPEG), kind="multipart/form-data"), 400),
    "boundary that never comes": Attack(form(part(JPEG), kind="multipart/form-data; boundary=c"), 400),
    "boundary of 10 KB": Attack(form(part(JPEG), kind=f"multipart/form-data; boundary={'b' * 10_000}"), 400),
    "path in the file name": Attack(form(part(b"root:x", b"../../../../etc/passwd")), 415),
    "path in a field": Attack(http(path="/v1/explain?output=../../etc/passwd", body=PNG), 422),
    "JSON of a client": Attack(http(b'{"image": "/etc/passwd", "params": {"version": "Mueller"}}', content_type="application/json"), 415),
    "field that no route knows": Attack(form(b'--b\r\nContent-Disposition: form-data; name="Mueller"\r\n\r\n1\r\n', part(JPEG)), 422),
    "Content-Length beyond every limit": Attack(http(b"1", content_length=10**15), 413),
    "two Content-Lengths": Attack(http(PNG, x="1\r\nContent-Length: 3"), 400, plain=True),
    "Content-Length and chunks": Attack(http(b"0\r\n\r\nGET /Mueller HTTP/1.1\r\n\r\n", transfer_encoding="chunked"), 400),
    "chunks of a false length": Attack(http(b"zz\r\nMueller\r\n", **CHUNKED), 400, plain=True),
    "unknown transfer coding": Attack(http(PNG, transfer_encoding="gzip, Mueller", content_length=None), 400, plain=True),
    "null byte in a header": Attack(http(PNG, user_agent="Mueller\0"), 400, plain=True),
    "headers of 20 KB": Attack(http(PNG, cookie=MARK * 3000), 431),
    "1,000 headers": Attack(http(PNG, **{f"x{number}": 1 for number in range(1000)}), 431),
    "address of 10 KB": Attack(http(PNG, f"/v1/predict?x={MARK * 1500}"), 414),
    "line that is not HTTP": Attack(b"Mueller\r\n\r\n", 400, plain=True),
    "HTTP/2 without agreement": Attack(b"PRI * HTTP/2.0\r\n\r\n", 421),
    "null bytes in the path": Attack(http(path="/v1/similar/%00Mueller.jpg", method="GET"), 422),
    "path to a file": Attack(http(path="/static/../../../../etc/passwd", method="GET"), 404),
    "coded path to a file": Attack(http(path="/static/%2e%2e/%2e%2e/settings.py?Mueller", method="GET"), 404),
    "another address as target": Attack(http(path="http://evil.example/Mueller", method="GET"), 404),
    "tunnel": Attack(http(path="evil.example:443", method="CONNECT"), 404),
    "foreign Host": Attack(http(method="GET", path="/v1/model", x="1").replace(b"HOST", b"evil.example"), 421),
    "two Hosts": Attack(http(method="GET", path="/v1/model", host="evil.example"), 400, plain=True),
    "foreign Origin": Attack(http(PNG, origin="https://evil.example"), 403),
    "Origin null": Attack(http(PNG, origin="null"), 403),
    "cross-site form to /review": Attack(http(b"decision=drop", "/review", content_type=FORM, sec_fetch_site="cross-site"), 403),
    "key in the address": Attack(http(PNG, f"/v1/predict?api_key={MARK}"), 400),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_has_one_clear_refusal(service, name):
    attack = ATTACKS[name]
    answer = sent(service.url, attack.request)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split(b" ")[1] == str(attack.status).encode(), answer[:300]
    assert MARK.encode() not in answer
    if attack.plain:
        assert b"Invalid HTTP request received." in body
    else:
        told = json.loads(body)
        assert set(told) == {"error", "request_id"} and told["error"].endswith(".") and len(told["error"]) < 250


def test_service_answers_after_all_and_its_log_has_nothing_of_them(service):
    with service.client() as client:
        assert client.post("/v1/predict", content=picture(1, 200)).status_code == 200
        assert client.get("/ready").json()["ready"] is True
    log = service.log.read_text(encoding="utf-8")
    for told in (MARK, "passwd", "evil.example", "Traceback", ".jpg?", "a.jpg", "\x1b", "error id="):
        assert told not in log


def seconds(work: Callable[[], bytes]) -> tuple[bytes, float]:
    began = time.monotonic()
    return work(), time.monotonic() - began


def test_slow_clients_are_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "HEADER_SECONDS", 0.5)
    with started_application(tmp_path, request_seconds=0.5) as url:
        answer, spent = seconds(lambda: sent(url, http(PNG[:60], content_length=1000)))
        assert answer.startswith(b"HTTP/1.1 408 ") and b"did not arrive within 0.5 seconds" in answer and spent < 5
        answer, spent = seconds(lambda: sent(url, http(PNG, path="/v1/predict"), pause=0.05))
        assert answer == b"" and spent < 3  # headers, byte by byte
        assert seconds(lambda: sent(url, b""))[1] < 3  # nothing at all
        assert b" 200 OK" in sent(url, http(PNG))
        with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=20) as kept:
            for _ in range(2):  # the limit is for the headers of each request, not for a connection
                time.sleep(0.3)
                kept.sendall(http(PNG).replace(b"HOST", b"127.0.0.1"))
                assert b" 200 OK" in received(kept)


def test_answer_reaches_a_client_that_goes_on_sending(tmp_path):
    with started_application(tmp_path) as url:
        body = bytes(30_000_000)
        answer = sent(url, http(body, content_type="image/png"))
        assert answer.startswith(b"HTTP/1.1 413 ") and b"connection: close" in answer.lower()
