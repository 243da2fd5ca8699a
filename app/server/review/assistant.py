"""Starts desk.py when it is first needed, and asks it one thing at a time."""

import asyncio
import json
import sys
from typing import Any

from app.server.errors import Refusal

SECONDS = 60.0
"""Within which it must answer, its start included."""
LINE_BYTES = 8_000_000
FAILED = "The findings cannot be read. The review needs the environment of the pipeline (`make setup`); the service's log has the cause."


class Assistant:
    """A process that reads findings and writes decisions. It ends with the service."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()

    async def ask(self, call: str, **arguments: Any) -> Any:
        """The result of a function of desk.py.

        Raises:
            Refusal: it gives a reason for which there is none, or does not answer.
        """
        async with self._lock:
            answer = await self._exchange(json.dumps({"call": call, **arguments}))
        if "error" in answer:
            raise Refusal(409, answer["error"])
        return answer["result"]

    async def _exchange(self, line: str) -> Any:
        process = await self._running()
        assert process.stdin is not None and process.stdout is not None
        try:
            async with asyncio.timeout(SECONDS):
                process.stdin.write(f"{line}\n".encode())
                await process.stdin.drain()
                return json.loads(await process.stdout.readline())
        except (TimeoutError, ValueError, OSError, asyncio.CancelledError) as fault:
            await self._end()  # what it answers later would be taken for the answer to another question
            if isinstance(fault, asyncio.CancelledError):
                raise
            raise Refusal(500, FAILED) from None

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "app.server.review.desk"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=LINE_BYTES,
                start_new_session=True,  # Ctrl-C is for the service, whose end closes this one's standard input
            )
        return self._process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()
