"""Describes the machine, isolates the benchmark's environment, and reads and writes results."""

import json
import os
import platform
from pathlib import Path
from typing import Any

RESULTS_ENV = "LESIONFLOW_RESULTS"
"""Environment variable with the folder for results; bench.py sets it for the benchmarks it starts."""
RESULTS = Path(os.environ.get(RESULTS_ENV) or Path(__file__).parents[1] / "results")
SHARED = ("MLFLOW_", "PREFECT_", "LESIONFLOW_WEBHOOK", "LESIONFLOW_FLOW_RUN")
"""Prefixes of variables that configure a lab's own servers or notifications."""


def name() -> str:
    """Processor, cores and Python version; results are comparable only if these are equal."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def describe() -> str:
    """The machine and its current load."""
    return name() + (f", load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else "")


def isolate_environment() -> None:
    """Isolate this process and its children from the user's MLflow and Prefect configuration, and use the bytecode settings of `make`."""
    for variable in [variable for variable in os.environ if variable.startswith(SHARED) or variable == "PYTHONDONTWRITEBYTECODE"]:
        del os.environ[variable]


def write(benchmark: str, document: dict[str, Any], folder: Path = RESULTS, report: str | None = None) -> Path:
    """Write a benchmark's results as JSON atomically, and its report, if given, as Markdown beside it; return the path of the JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{benchmark}.json"
    draft = path.with_suffix(".partial")
    draft.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    draft.replace(path)
    if report is not None:
        path.with_suffix(".md").write_text(f"{report}\n", encoding="utf-8")
    return path


def read(benchmark: str, folder: Path = RESULTS) -> dict[str, Any] | None:
    """Read a benchmark's results; None if there are none."""
    path = folder / f"{benchmark}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
