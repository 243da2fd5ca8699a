import asyncio

import pytest

from flows.server import Guard

PORT = 4200


def send_request(kind: str, **headers: str) -> tuple[list[str], list[dict]]:
    """Send a request through the guard; return the types of the forwarded requests and the responses."""
    forwarded, responses = [], []

    async def app(scope, _receive, _send):
        forwarded.append(scope["type"])

    async def receive():
        return {"type": f"{kind}.connect"}

    async def send(message):
        responses.append(message)

    scope = {"type": kind, "headers": [(name.encode(), value.encode()) for name, value in headers.items()]}
    asyncio.run(Guard(app, {"127.0.0.1", "localhost", "::1", "prefect.clinic.org"})(scope, receive, send))
    return forwarded, responses


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1:4200"},
        {"host": "localhost:4200", "origin": "http://localhost:4200"},
        {"host": "[::1]:4200", "origin": "http://[::1]:4200"},
        {"host": "prefect.clinic.org", "origin": "https://prefect.clinic.org"},
    ],
)
def test_guard_forwards_requests_of_own_origin(kind, headers):
    assert send_request(kind, **headers) == ([kind], [])


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1:4200", "origin": "http://elsewhere.example"},
        {"host": "127.0.0.1:4200", "origin": "http://127.0.0.1:8000"},
        {"host": "127.0.0.1:4200", "origin": "null"},
        {"host": "rebound.example:4200"},
        {"host": "rebound.example:4200", "origin": "http://rebound.example:4200"},
        {"host": "[", "origin": "http://["},
        {},
    ],
)
def test_guard_refuses_other_origins_and_hosts(kind, headers):
    forwarded, responses = send_request(kind, **headers)
    assert forwarded == []
    assert responses[0].get("status", 403) == 403
    assert responses[0]["type"] in ("http.response.start", "websocket.close")


def test_guard_forwards_lifespan():
    assert send_request("lifespan") == (["lifespan"], [])
