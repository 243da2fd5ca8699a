"""What a benchmark ran on, in one line, where its results go, and what of the environment it must not touch."""

import json
import os
import platform
from pathlib import Path
from typing import Any

FOLDER = "LESIONFLOW_RESULTS"
"""Names the folder that a benchmark writes its results into; set by bench.py for what it starts."""
RESULTS = Path(os.environ.get(FOLDER) or Path(__file__).parents[1] / "results")
SHARED = ("MLFLOW_", "PREFECT_", "LESIONFLOW_WEBHOOK", "LESIONFLOW_FLOW_RUN")
"""How variables begin that lead to a lab's own servers or tell people of runs."""


def name() -> str:
    """Processor, cores, Python: what two results must share to be of one machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def described() -> str:
    """The machine and how busy it is already."""
    return name() + (f", load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else "")


def keep_to_itself() -> None:
    """Make this process and what it starts use stores and servers of their own, and byte code as `make` has it."""
    for variable in [variable for variable in os.environ if variable.startswith(SHARED) or variable == "PYTHONDONTWRITEBYTECODE"]:
        del os.environ[variable]


def write(benchmark: str, document: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Write a benchmark's results as JSON, whole or not at all, and return where."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{benchmark}.json"
    draft = path.with_suffix(".partial")
    draft.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    draft.replace(path)
    return path


def read(benchmark: str, folder: Path = RESULTS) -> dict[str, Any] | None:
    """A benchmark's results, or None where it has none."""
    path = folder / f"{benchmark}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
