"""Moves the champion of a copy of the store under load."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import serving
from components.core.errors import LesionflowError
from components.registry import promotion, versions
from components.registry.promotion import OVERRIDE, Cause
from components.runtime import params_file
from components.tracking import store

MOVES_EVERY = 3.0
"""Seconds between two moves."""


def moved_under_load(folder: Path, version: str, clients: int, seconds: float) -> dict[str, Any]:
    """Send images from clients while the alias `champion` goes to a copy of the version and back, again and again.

    Args:
        folder: of the images.
        version: alias or number.
        clients: number of clients.
        seconds: of load.
    """
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        shutil.copy(params_file.PARAMS_FILE, root)
        shutil.copytree("mlruns", root / "mlruns")
        numbers = json.loads(_in(root, "prepare", version))
        with serving.started(root=root) as service:
            ended = threading.Event()
            moves = threading.Thread(target=_move, args=(root, ended))
            moves.start()
            loaded = serving.load(service, folder, clients, seconds)
            ended.set()
            moves.join()
    return {
        "seconds": seconds,
        "registered": numbers,
        "statuses": loaded["statuses"],
        "failures": loaded["failures"],
        "answers_of_versions": loaded["versions"],
    }


def _in(root: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks.harness.moving", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(command, cwd=root, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]


def _move(root: Path, ended: threading.Event) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.harness.moving", "move"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as process:
        ended.wait()
        process.kill()


def main() -> None:
    """Prepare two versions, or move champion between them until killed. Runs in the folder of the copy."""
    model = params_file.load().registration.registered_model
    client = store.connect()
    if sys.argv[1] == "prepare":
        found = versions.find_version(client, model, sys.argv[2])
        if found is None:
            raise LesionflowError(f"{model} has no {sys.argv[2]}")
        copies = [client.create_model_version(model, found.source, found.run_id, tags=found.tags) for _ in range(2)]
        _make_champion(client, model, str(copies[0].version))
        print(json.dumps([str(copy.version) for copy in copies]))
        return
    last = client.search_model_versions(f"name = '{model}'")
    pair = sorted((int(found.version) for found in last), reverse=True)[:2]
    while True:
        for number in pair:
            _make_champion(client, model, str(number))
            time.sleep(MOVES_EVERY)


def _make_champion(client: Any, model: str, number: str) -> None:
    state = promotion.read_champion_state(client, model)
    if state.number != number:
        promotion.move_champion(client, state, number, Cause(OVERRIDE, "passed", "benchmark"))


if __name__ == "__main__":
    main()
