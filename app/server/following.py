"""Follows an alias: a process of its own asks the registry (registry.py), and the engine answers with what it finds."""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.models.lookup import FoundVersion
from app.server.engine import Engine
from app.server.settings import Settings
from app.server.version_cache import VersionCache
from components.core.errors import LesionflowError
from components.registry.local_versions import find_local_version
from components.serving.contents import FILE
from components.serving.loading import ARTIFACTS
from components.tracking.store import store_uri

LOG = logging.getLogger("lesionflow.serve.versions")
ROOT = Path(__file__).parents[2]
ASK = ("-P", "-m", "app.server.registry")
"""Arguments of Python for the process that asks."""
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds after which a process that ended is started again, doubled each time."""
TRY_AGAIN_SECONDS = 60.0
"""Seconds after which a version that could not be loaded is tried again."""


@dataclass
class State:
    """What is known of the registry.

    Attributes:
        answered: when it answered last, by `time.monotonic`; None if it never did.
        unreachable: whether it does not answer.
        unfetched: whether it has no such version, or one that cannot be fetched.
        failed: number of the wanted version if it could not be loaded.
        load_failures: how many times a version could not be loaded.
    """

    answered: float | None = None
    unreachable: bool = False
    unfetched: bool = False
    failed: str | None = None
    load_failures: int = 0

    @property
    def problem(self) -> str | None:
        """What is wrong, in a sentence for everybody."""
        if self.failed is not None:
            return f"version {self.failed} cannot be loaded"
        if self.unfetched:
            return "the wanted version does not exist or cannot be fetched"
        return "the registry does not answer" if self.unreachable else None


class Follower:
    """Keeps the engine at the version that the settings want.

    Args:
        settings: name the model and the version.
        engine: that answers.

    Attributes:
        state: what is known of the registry.
        refusal: why there is nothing to answer with, if the registry said so.
    """

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self.state = State()
        self.refusal: str | None = None
        self._settings, self._engine = settings, engine
        self._cache = VersionCache.of(settings.cache, store_uri(), settings.model)
        self._closed = threading.Event()
        self._child: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None
        self._tried_at = 0.0
        self._told: str | None = None

    def load_first(self) -> None:
        """Load what can be loaded without asking anybody: a version in a store on this machine, or the one that was fetched last.

        Raises:
            LesionflowError: the version in the store cannot be loaded.
        """
        model, wanted = self._settings.model, self._settings.version
        local = find_local_version(store_uri(), model, wanted)
        if local is not None:
            self._engine.load(FoundVersion(model, local.number, local.folder))
            self.state.answered = time.monotonic()
        elif (last := self._cache.last(wanted)) is not None:
            try:
                self._engine.load(last)
            except LesionflowError as fault:
                LOG.warning("%s It is fetched again", fault)
                self._cache.forget(last)

    def start(self, on_refusal: Callable[[], None]) -> None:
        """Begin to follow. `on_refusal` is called if the registry has nothing to answer with."""
        if self._is_settled:
            return
        self._thread = threading.Thread(target=self._follow, args=(on_refusal,), name="follow", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End, together with the process that asks."""
        self._closed.set()
        if self._child is not None:
            self._child.kill()
        if self._thread is not None:
            self._thread.join()

    @property
    def _is_settled(self) -> bool:
        """Whether the version that answers can never be another."""
        return self._settings.version.isdigit() and self._engine.loaded is not None

    def _follow(self, on_refusal: Callable[[], None]) -> None:
        wait = FIRST_WAIT
        while not self._closed.is_set():
            with self._asking() as child:
                self._child = child
                if self._closed.is_set():
                    child.kill()
                assert child.stdout is not None
                for line in child.stdout:
                    wait = FIRST_WAIT
                    self._take(json.loads(line))
                    if self.refusal or self._is_settled:
                        child.kill()
            if self.refusal:
                on_refusal()
            if self.refusal or self._is_settled or self._closed.is_set():
                return
            self.state.unreachable = True
            LOG.warning("the process that asks the registry ended; it is started again in %.0f s", wait)
            self._closed.wait(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    def _asking(self) -> "subprocess.Popen[str]":
        command = [sys.executable, *ASK, self._settings.model, self._settings.version]
        paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        return subprocess.Popen(
            [*command, "--cache", str(self._settings.cache.absolute())],
            env={**os.environ, "PYTHONPATH": paths},
            stdin=subprocess.PIPE,  # never written to: that it closes tells the process that this one ended
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for this process, which ends the other
            text=True,
        )

    def _take(self, message: dict[str, Any]) -> None:
        self.state.unreachable = bool(message.get("transient"))
        self.state.unfetched = "error" in message and not self.state.unreachable
        if not self.state.unreachable:
            self.state.answered = time.monotonic()
        if "error" in message:
            self._tell(message["error"])
            if self._engine.loaded is None and self.state.unfetched:
                self.refusal = message["error"]
            return
        self._tell("; ".join(message["warnings"]) or None)
        self._move(FoundVersion(self._settings.model, message["number"], Path(message["folder"])))

    def _move(self, found: FoundVersion) -> None:
        loaded = self._engine.loaded
        if loaded is not None and _is_same(loaded.found, found):
            self.state.failed = None
            return
        if self.state.failed == found.number and time.monotonic() < self._tried_at + TRY_AGAIN_SECONDS:
            return
        self._tried_at = time.monotonic()
        try:
            self._engine.load(found)
        except LesionflowError as fault:
            self.state.failed = found.number
            self.state.load_failures += 1
            if loaded is None:
                self.refusal = str(fault)
            else:
                LOG.error("%s Version %s goes on answering", fault, loaded.found.number)
            return
        self.state.failed = None
        self._cache.remember(self._settings.version, found)
        LOG.info("version %s of %s answers now", found.number, found.model)

    def _tell(self, line: str | None) -> None:
        """Log a line once, not each time that it is heard."""
        if line is not None and line != self._told:
            LOG.warning("%s", line)
        self._told = line


def _is_same(one: FoundVersion, other: FoundVersion) -> bool:
    """Whether they are one version, although its files may be in two places."""
    return one.number == other.number and (one.folder == other.folder or _digests(one) == _digests(other))


def _digests(found: FoundVersion) -> bytes | None:
    try:
        return (found.folder / ARTIFACTS / FILE).read_bytes()
    except OSError:
        return None
