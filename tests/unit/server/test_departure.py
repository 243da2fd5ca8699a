"""A client who leaves cancels what was to be computed for it."""

import asyncio

from app.server.departure import Departure
from app.server.engine import DEPARTURE, ClientGone


class Connection:
    """The server's side of a request: a body in two parts, then the client leaves when told to."""

    def __init__(self):
        self.parts = [{"type": "http.request", "body": b"a", "more_body": True}, {"type": "http.request", "body": b"b"}]
        self.left = asyncio.Event()
        self.sent = []

    async def receive(self):
        if self.parts:
            return self.parts.pop(0)
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)


async def read(receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


def request(application, connection):
    return Departure(application)({"type": "http"}, connection.receive, connection.send)


def test_departure_is_noticed_after_the_body_was_read_and_ends_the_request_quietly():
    async def check():
        noticed = []

        async def application(_scope, receive, _send):
            assert await read(receive) == b"ab"
            asyncio.get_running_loop().call_later(0.01, connection.left.set)
            await asyncio.wait_for(DEPARTURE.get()(), 5)
            noticed.append(True)
            raise ClientGone

        connection = Connection()
        await request(application, connection)
        assert (noticed, connection.sent) == ([True], [])

    asyncio.run(check())


def test_client_who_stays_is_not_taken_for_gone():
    async def check():
        async def application(_scope, receive, send):
            await read(receive)
            gone = asyncio.ensure_future(DEPARTURE.get()())
            await asyncio.sleep(0.02)
            assert not gone.done()
            gone.cancel()
            await send({"type": "http.response.start", "status": 200})

        connection = Connection()
        await request(application, connection)
        assert [message["status"] for message in connection.sent] == [200]
        assert DEPARTURE.get() is None

    asyncio.run(check())
