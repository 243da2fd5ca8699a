"""Measure the overhead of a fully cached flow run through a real server and worker, by activity.

Run `dvc repro` first, then this from the project's root; it starts a Prefect server and a worker of its own on a free port.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from typing import Any

import httpx

from benchmarks.harness import machine
from benchmarks.harness.tables import table
from flows.processes import free_port

NAME = "overhead"
PARTS = ("status", "champion", "publish")


def main() -> None:
    """Measure, print a table, and write it under benchmarks/results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="(default: %(default)s)")
    given = parser.parse_args()
    described = machine.describe()
    machine.isolate_environment()
    port = free_port()
    with tempfile.TemporaryDirectory() as home:
        serving = subprocess.Popen(
            [sys.executable, "-m", "flows.serve", "--port", str(port)],
            env={**os.environ, "PREFECT_HOME": home, "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "false"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            api = httpx.Client(base_url=f"http://127.0.0.1:{port}/api/", timeout=30)
            _until(lambda: _post(api, "work_pools/lesionflow/workers/filter"))
            rows = [measure(api) for _ in range(given.runs)]
        finally:
            serving.send_signal(signal.SIGTERM)
            serving.wait(90)
    medians = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    document = {"machine": described, "runs": rows, "median": medians}
    path = machine.write(NAME, document)
    print(f"{report(document)}\n\nwritten to {path}")


def report(document: dict[str, Any]) -> str:
    """The results as a table."""
    rows = [[name, f"{seconds:.1f}"] for name, seconds in document["median"].items()]
    said = f"A fully cached flow run through a worker; medians of {len(document['runs'])} runs on {document['machine']}."
    return f"{said}\n\n{table(['seconds', ''], rows)}"


def measure(api: httpx.Client) -> dict[str, float]:
    """Seconds of one run.

    Raises:
        SystemExit: the run did not complete, or a stage was not cached, so the measurement would be invalid.
    """
    deployment = api.get("deployments/name/training/train-on-demand").raise_for_status().json()
    asked = time.time()
    run = _post(api, f"deployments/{deployment['id']}/create_flow_run", state={"type": "SCHEDULED"})
    ended: dict[str, Any] = _until(lambda: (now := api.get(f"flow_runs/{run['id']}").json())["end_time"] and now)
    tasks = _post(api, "task_runs/filter", task_runs={"flow_run_id": {"any_": [run["id"]]}})
    stages = [task for task in tasks if task["name"].split("-")[0] not in PARTS]
    if ended["state_name"] != "Completed" or {task["state_name"] for task in stages} != {"Cached"}:
        raise SystemExit(f"error: the run ended as {ended['state_name']}, or not all stages were cached. Run `dvc repro` first.")
    start, end = _seconds(ended["start_time"]), _seconds(ended["end_time"])
    spent = {part: _span([task for task in tasks if task["name"].split("-")[0] == part]) for part in PARTS}
    return {
        "from start to Completed": end - start,
        "  asking DVC which stages are stale": spent["status"],
        "  stages, all cached": _span(stages),
        "  asking MLflow who is champion": spent["champion"],
        "  publishing artifacts": spent["publish"],
        "before: until the worker takes it, process": start - asked,
    }


def _span(tasks: list[dict[str, Any]]) -> float:
    return max(_seconds(task["end_time"]) for task in tasks) - min(_seconds(task["start_time"]) for task in tasks)


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def _post(api: httpx.Client, path: str, **body: Any) -> Any:
    try:
        return api.post(path, json=body).raise_for_status().json()
    except httpx.HTTPError:
        return None


def _until(look: Any) -> Any:
    end = time.monotonic() + 300
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    raise SystemExit("error: the run did not end within five minutes")


if __name__ == "__main__":
    main()
