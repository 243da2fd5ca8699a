"""The service's application over a predictor that answers from the mean color of an image, without a registered version."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.models.lookup import FoundVersion
from app.server.application import build
from app.server.connection import Connection
from app.server.engine import Busy, Loaded, NotReady
from app.server.settings import Settings
from components.core.errors import UnreadableImageError
from components.core.files import write_json
from components.imaging import images
from components.serving.answers import Answer, Contract, SimilarCase, spread
from components.serving.loading import ARTIFACTS
from flows.processes import free_port
from tests.support.images import encoded, noise
from tests.support.versions import candidate

KEY = "a key of 32 characters, not more".replace(" ", "-")
HOST = "http://127.0.0.1"


class FakePredictor:
    """Answers from the mean color: red is melanoma, green nevus, blue keratosis."""

    unreadable = UnreadableImageError

    def __init__(self) -> None:
        self.contract = Contract.of_candidate(candidate())
        self.predictor = self

    def predict(self, content: bytes) -> Answer:
        """Answer about an image."""
        return self.predict_lesion([content])

    def predict_lesion(self, contents: Sequence[bytes]) -> Answer:
        """Answer about several images of a lesion."""
        colors = np.stack([np.asarray(images.decode(content), float).mean(axis=(0, 1)) + 1 for content in contents])
        each = colors / colors.sum(axis=1, keepdims=True)
        probabilities = dict(zip(self.contract.outputs, each.mean(axis=0).tolist(), strict=True))
        return Answer(
            diagnosis=max(probabilities, key=lambda name: probabilities[name]),
            probabilities=probabilities,
            malignant=probabilities["melanoma"],
            operating_points={"triage": probabilities["melanoma"] >= 0.2},
            prediction_set=tuple(probabilities),
            picture_spread=spread(self.contract, each) if len(contents) > 1 else None,
            pictures=len(contents),
            similar=(SimilarCase("nevus", "HAM10000", 0.1, "CC0", "somebody", 7), SimilarCase("nevus", "other", 0.2, "CC0", "")),
            neighbour_counts={"nevus": 2},
        )

    def activation_map(self, content: bytes, output: str) -> np.ndarray:
        """A map of two places."""
        images.decode(content)
        return np.array([[1.0, -2.0]]) * (1 + self.contract.outputs.index(output))

    def thumbnail(self, number: int) -> bytes:
        """A picture."""
        return picture(number)


class FakeEngine:
    """Computes at once. With `busy` or without `loaded` it refuses as the engine does."""

    def __init__(self, folder: Path) -> None:
        self.predictor = FakePredictor()
        self.loaded: Loaded | None = Loaded(FoundVersion("skin", "3", folder), self.predictor.contract, queue.SimpleQueue())
        self.busy, self.running, self.waiting = False, 0, 0

    async def run(self, work: Callable[[Any], Any]) -> tuple[Loaded, Any]:
        """Run work, as `Engine.run`."""
        if self.loaded is None:
            raise NotReady("no version is loaded yet")
        if self.busy:
            raise Busy("too many requests wait; try again later")
        return self.loaded, await asyncio.to_thread(work, self.predictor)


def fake_application(folder: Path, **changes: Any) -> FastAPI:
    """The application with a version whose files are in the folder; `changes` of the settings."""
    write_json(folder / ARTIFACTS / "candidate/candidate.json", candidate())
    return build(Settings("skin", **changes), FakeEngine(folder))  # type: ignore[arg-type]


def fake_client(folder: Path, **changes: Any) -> TestClient:
    """A client of `fake_application`."""
    return TestClient(fake_application(folder, **changes), base_url=HOST, follow_redirects=False)


@contextmanager
def started_application(folder: Path, **changes: Any) -> Iterator[str]:
    """Start `fake_application` on a free port, in a thread of this process; its URL."""
    config = uvicorn.Config(fake_application(folder, **changes), port=free_port(), log_config=None, http=Connection, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{config.port}"
    finally:
        server.should_exit = True
        thread.join()


def picture(number: int = 1, size: int = 40, form: str = "PNG") -> bytes:
    """The bytes of a made image."""
    return encoded(noise(number, size), form)
