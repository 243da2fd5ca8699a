"""Asks the registry which version is wanted, fetches it, and prints it as a line of JSON, again and again.

    python -m app.server.registry MODEL WANTED --cache FOLDER

A process of its own, so that the one that answers neither imports MLflow nor waits for it. A line has `number`, `folder` and `warnings`,
or `error` and `transient`. It ends when its standard input is closed, as it is when the service was killed.
"""

import argparse
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from app.models.lookup import find_version
from app.server.version_cache import VersionCache
from components.core.errors import LesionflowError, ServiceUnavailable, first_line
from components.registry.local_versions import find_local_version
from components.tracking import store

LOCAL_SECONDS, SECONDS = 1.0, 10.0
"""Seconds between two questions to a store on this machine and to a server."""
MOVE_SECONDS = 1.0
"""Seconds within which a move of an alias is finished."""


def main() -> None:
    """Print what the registry answers until standard input is closed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("wanted")
    parser.add_argument("--cache", type=Path, required=True)
    given = parser.parse_args()
    threading.Thread(target=_end_with_service, daemon=True).start()
    messages = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is not a message
    cache = VersionCache.of(given.cache, store.store_uri(), given.model)
    seconds = LOCAL_SECONDS if store.store_uri().startswith("sqlite") else SECONDS
    while True:
        _wait_for_move(given.model, given.wanted)
        print(json.dumps(answer(given.model, given.wanted, cache)), file=messages, flush=True)
        time.sleep(seconds)


def answer(model: str, wanted: str, cache: VersionCache) -> dict[str, Any]:
    """What the registry answers."""
    try:
        found = find_version(model, wanted, cache.fetch)
    except LesionflowError as fault:
        return {"error": first_line(fault), "transient": isinstance(fault, ServiceUnavailable)}
    except OSError as fault:
        return {"error": f"{cache.folder} cannot be used: {fault.strerror}", "transient": True}
    return {"number": found.number, "folder": str(found.folder), "warnings": found.warnings}


def _wait_for_move(model: str, wanted: str) -> None:
    """Wait a moment where a store on this machine does not tell the version: a move may be under way, which takes less time than the
    import of MLflow, which would be asked."""
    uri = store.store_uri()
    if uri.startswith("sqlite") and "mlflow" not in sys.modules and find_local_version(uri, model, wanted) is None:
        time.sleep(MOVE_SECONDS)


def _end_with_service() -> None:
    while os.read(0, 1):  # not sys.stdin, whose lock this thread would hold while the interpreter ends
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
