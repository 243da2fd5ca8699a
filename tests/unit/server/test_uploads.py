"""Forms and bytes as they arrive, in pieces of any size."""

import asyncio
from types import SimpleNamespace

import pytest
from starlette.requests import Request

from app.server.errors import Refusal
from app.server.settings import Settings
from app.server.uploads import read_images, read_upload

SETTINGS = Settings("skin", max_images=2, max_image_bytes=100)
BOUNDARY = "b0undary"


def part(content: bytes, head: str = 'form-data; name="image"; filename="a.jpg"', more: str = "") -> bytes:
    return f"--{BOUNDARY}\r\nContent-Disposition: {head}\r\n{more}\r\n".encode() + content + b"\r\n"


def form(*parts: bytes, end: str = f"--{BOUNDARY}--\r\n") -> bytes:
    return b"".join(parts) + end.encode()


def read(body: bytes, kind: str = f"multipart/form-data; boundary={BOUNDARY}", piece: int = 7, fields=("lesion",), images=False):
    pieces = [body[at : at + piece] for at in range(0, len(body), piece)] or [b""]

    async def receive():
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    headers = [(b"content-type", kind.encode("latin-1"))] if kind else []
    app = SimpleNamespace(state=SimpleNamespace(settings=SETTINGS))
    request = Request({"type": "http", "method": "POST", "headers": headers, "app": app}, receive)
    return asyncio.run((read_images if images else read_upload)(request, fields))


@pytest.mark.parametrize("piece", [1, 2, 13, 1000])
def test_form_is_read_in_pieces_of_any_size(piece):
    tricky = b"\r\n--b0undar\r\n-\r\r\n--"
    found = read(form(part(tricky), part(b"true", 'form-data; name="lesion"'), part(b"2")), piece=piece)
    assert found.images == [tricky, b"2"] and found.fields == {"lesion": "true"}


def test_file_name_is_not_used():
    found = read(form(part(b"1", 'form-data; name="image"; filename="../../../etc/cron.d/x"')))
    assert found.images == [b"1"] and "cron" not in repr(found)


def test_empty_choice_of_a_browser_is_no_image_and_an_empty_file_is():
    empty = 'form-data; name="image"; filename=""'
    assert read(form(part(b"", empty), part(b"1"), part(b"", empty))).images == [b"1"]
    assert read(form(part(b""))).images == [b""]
    assert read(form(part(b"1"), part(b"2"), part(b"", empty), part(b"true", 'form-data; name="lesion"'))).images == [b"1", b"2"]


@pytest.mark.parametrize("kind", ["", "image/jpeg", "image/png; x=y", "application/octet-stream", "IMAGE/JPEG"])
def test_bytes_are_one_image_of_any_image_type(kind):
    assert read(b"abc" * 9, kind).images == [b"abc" * 9]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (form(*[part(b"1")] * 3), 413),
        (form(part(b"1"), part(b"2"), part(b"3", 'form-data; name="image"; filename=""')), 413),
        (form(*[part(b"", 'form-data; name="image"; filename=""')] * 9), 413),
        (form(part(b"1" * 101)), 413),
        (form(part(b"x" * 5000, 'form-data; name="lesion"')), 413),
        (form(part(b"1"), end=""), 400),
        (part(b"1")[:-2], 400),
        (b"--other\r\n", 400),
        (b"", 400),
        (b"\0" * 50, 400),
        (form(part(b"1", more="x: " + "y" * 9000 + "\r\n")), 400),
        (form(part(b"1", f'form-data; name="image"; filename="{chr(7) * 9000}"')), 400),
        (form(part(b"1", more="x: y\r\n" * 99)), 400),
        (form(part(b"1", more="x\0: y\r\n")), 400),
        (form(part(b"1", 'form-data; name="patient"')), 422),
        (form(part(b"1", "form-data")), 422),
        (form(part(b"1", 'attachment; name="image"')), 422),
        (form(part(b"true", 'form-data; name="lesion"'), part(b"true", 'form-data; name="lesion"')), 422),
        (form(part(b"\xff\xfe", 'form-data; name="lesion"')), 422),
    ],
)
def test_form_that_is_not_as_it_should_be_is_refused(body, status):
    with pytest.raises(Refusal) as refused:
        read(body)
    assert refused.value.status == status
    assert "patient" not in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=", 400),
        (f"multipart/form-data; boundary={'b' * 300}", 400),
        ("application/json", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/mixed; boundary=b0undary", 415),
        ("\xff", 415),
    ],
)
def test_other_content_types_are_refused(kind, status):
    with pytest.raises(Refusal) as refused:
        read(form(part(b"1")), kind)
    assert refused.value.status == status


def test_bytes_beyond_the_limit_and_a_request_without_image_are_refused():
    with pytest.raises(Refusal, match="An image is larger than 100 bytes"):
        read(b"1" * 101, "image/jpeg")
    with pytest.raises(Refusal, match="The request has no image"):
        read(form(part(b"true", 'form-data; name="lesion"')), images=True)
