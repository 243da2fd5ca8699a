import asyncio

import pytest

from flows.server import Guard

PORT = 4200


def ask(kind: str, **headers: str) -> tuple[list[str], list[dict]]:
    """Send a request through the guard: which requests reached the application, and what was answered."""
    reached, sent = [], []

    async def app(scope, _receive, _send):
        reached.append(scope["type"])

    async def receive():
        return {"type": f"{kind}.connect"}

    async def send(message):
        sent.append(message)

    scope = {"type": kind, "headers": [(name.encode(), value.encode()) for name, value in headers.items()]}
    asyncio.run(Guard(app, {"127.0.0.1", "localhost", "::1", "prefect.clinic.org"})(scope, receive, send))
    return reached, sent


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
def test_commands_and_the_servers_own_page_reach_it(kind, headers):
    assert ask(kind, **headers) == ([kind], [])


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
def test_pages_of_other_sites_and_names_that_are_not_its_own_are_refused(kind, headers):
    reached, sent = ask(kind, **headers)
    assert reached == []
    assert sent[0].get("status", 403) == 403
    assert sent[0]["type"] in ("http.response.start", "websocket.close")


def test_the_applications_own_start_passes():
    assert ask("lifespan") == (["lifespan"], [])
