"""Measure the whole pipeline and the notebook that it replaces on several splits of one dataset: metrics, seconds, memory.

Works in a copy of the project with its own MLflow store; params.yaml, data/ and the registry are not changed. For each seed every
stage runs through DVC, then the notebook trains on the same split (benchmarks/notebook.py). Each row is written to
benchmarks/results/NAME/ as soon as it is measured, and existing rows are not measured again. Run it from the project's root.
"""

import argparse
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.harness import machine, summary
from benchmarks.harness.labels import ISIC9
from benchmarks.harness.manifest import BenchmarkRequest, claim_results_folder
from components.core import catalog
from components.core.files import read_json
from components.core.label_set import LabelSet
from components.core.paths import LABEL_SET, SHARDS
from components.imaging import tfrecords
from components.runtime.params_file import PARAMS_FILE, load
from flows import workspace
from flows.processes import LESIONFLOW, ROOT, Command, CommandFailed, run_command
from flows.stages import DVC, STAGES, run_stage

NAME = "pipeline"
PLACE = Path(".prefect/benchmark")
IMPORTED = Path(".prefect/benchmark.json")
"""File that identifies the dataset in the copy."""
CODE = ("app", "benchmarks", "components", "flows", "labels", "utilities")
TOOK = re.compile(r"took ([\d.]+) s(?:, including ([\d.]+) s for imports)?(?:, including ([\d.]+) s for MLflow)?$")
HEADLINES = ("accuracy", "balanced_accuracy", "macro_f1", "critical_sensitivity", "calibration_error")
NOTEBOOK = ("MobileNetV2", 224)
"""Architecture and image size that the notebook supports."""
POLL = 0.5


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Command-line arguments of this benchmark and of bench.py."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", type=Path, help="a folder, zip or tar to import first (default: the project's own dataset)")
    parser.add_argument("--name", help="name of the folder in benchmarks/results/ (default: the source's name without suffix, or sample)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="seeds of split and training (default: 0 1 2)")
    parser.add_argument("--notebook-epochs", type=int, default=24, metavar="N", help="0 skips the notebook (default: %(default)s)")
    parser.add_argument(
        "-S",
        "--set-param",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="params override, as for DVC's --set-param",
    )
    return parser


def imagenet_arguments(description: str | None) -> argparse.ArgumentParser:
    """The same arguments without the notebook, and `--weights`; for `imagenet_request`."""
    parser = arguments(description)
    parser.set_defaults(notebook_epochs=0)
    parser.add_argument("--weights", type=Path, help="ImageNet weights without top; selects the backbone `imagenet`")
    return parser


def imagenet_request(given: argparse.Namespace) -> BenchmarkRequest:
    """What is asked, with the overrides that `--weights` stands for."""
    weights = [] if given.weights is None else ["backbone=imagenet", f"backbones.imagenet.weights={given.weights.resolve()}"]
    return BenchmarkRequest.of(given.source, [*weights, *given.overrides], 0)


def main() -> None:
    """Measure missing rows, and print the tables."""
    given = arguments(__doc__).parse_args()
    machine.isolate_environment()
    asked = BenchmarkRequest.of(given.source, given.overrides, given.notebook_epochs)
    folder = claim_results_folder(asked, given.name or asked.name)
    try:
        rows = measure_missing(asked, given.seeds, folder)
    except CommandFailed as fault:
        raise SystemExit(f"error: {fault}") from None
    print(f"{summary.report(rows, folder.name)}\n\nwritten to {folder / NAME}.json")


def measure_missing(asked: BenchmarkRequest, seeds: list[int], folder: Path) -> list[dict[str, Any]]:
    """Rows of these seeds; missing rows are measured, in order."""
    rows = summary.with_new_names((machine.read(NAME, folder) or {"rows": []})["rows"])
    missing = [seed for seed in seeds if seed not in {row["seed"] for row in rows}]
    if missing:
        root, imported = prepare_copy(asked)
    for seed in missing:
        rows.append({"seed": seed, "import": imported, **measure(root, seed, asked)})
        rows.sort(key=lambda row: row["seed"])
        machine.write(NAME, {"rows": rows}, folder)
    return [row for row in rows if row["seed"] in seeds]


def prepare_copy(asked: BenchmarkRequest) -> tuple[Path, dict[str, float] | None]:
    """Copy the project with the dataset; return the copy and the cost of the import."""
    (ROOT / IMPORTED).unlink(missing_ok=True)
    root, cost = workspace.copy_worktree(ROOT, PLACE), None
    run_command(Command([*DVC, "pull", "weights.dvc"], "dvc pull weights.dvc"), print, root=root)
    if asked.source is None:
        run_command(Command([*DVC, "pull", "data.dvc"], "dvc pull data.dvc"), print, root=root)
    else:
        shutil.rmtree(root / "data", ignore_errors=True)
        with measure_resources() as cost:
            run_command(Command([*LESIONFLOW, "import", str(asked.source)], f"lesionflow import {asked.source}"), print, root=root)
    machine.write(IMPORTED.stem, {"dataset": asked.dataset}, ROOT / IMPORTED.parent)
    return root, cost


def ensure_built(asked: BenchmarkRequest, seed: int, upto: str | None = None) -> Path:
    """Restore the copy for this seed with the project's current code; stale stages run without measurement, up to the stage `upto` or to
    the end."""
    root = ROOT / PLACE
    if (machine.read(IMPORTED.stem, ROOT / IMPORTED.parent) or {}).get("dataset") != asked.dataset:
        prepare_copy(asked)
    for code in CODE:
        shutil.copytree(ROOT / code, root / code, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "results"))
    shutil.copy2(ROOT / "dvc.yaml", root / "dvc.yaml")
    set_params(root, seed, asked)
    run_command(Command([*DVC, "repro", *([upto] if upto else [])], "dvc repro"), print, root=root)
    return root


def set_params(root: Path, seed: int, asked: BenchmarkRequest) -> None:
    """Write the project's params with the overrides and the seed to the copy, which splits all images again for each seed."""
    shutil.copy2(ROOT / PARAMS_FILE, root / PARAMS_FILE)
    workspace.set_params(root / PARAMS_FILE, [*asked.overrides, f"seed={seed}", "split.redeal=true"])


def measure(root: Path, seed: int, asked: BenchmarkRequest) -> dict[str, Any]:
    """Measure one seed: every stage, then the notebook on the same split."""
    set_params(root, seed, asked)
    for left in ("build", "reports", "mlruns"):
        shutil.rmtree(root / left, ignore_errors=True)
    described = machine.describe()
    stages = {name: run_measured_stage(root, name) for name in STAGES}
    evaluation, split, trained, tuned = (
        read_json(root / "reports" / f"{name}.json") for name in ("evaluation", "split", "train", "finetune")
    )
    return {
        "machine": described,
        "images": sum(split["images"].values()),
        "views": {**{split: tfrecords.view_count(split, root / SHARDS) for split in catalog.SPLIT_NAMES}, "embedded": trained["views"]},
        "epochs": tuned["epochs"],
        "stages": stages,
        "build_bytes": sum(file.stat().st_size for file in (root / "build").rglob("*") if file.is_file()),
        "picked": evaluation["picked"],
        "validation": evaluation["validation"],
        "test": {name: evaluation["test"][name] for name in ("images", "groups", *HEADLINES)},
        "frozen": evaluation["phases_on_test"]["frozen"],
        "before_lift": evaluation["phases_on_test"][evaluation["picked"]],
        "per_class": {name: {key: found[key] for key in ("images", "recall")} for name, found in evaluation["per_class"].items()},
        "collections_left_out": evaluation["collections_left_out"],
        "finetuned_less_frozen": evaluation["finetuned_less_frozen_on_test"]["balanced_accuracy"],
        "shifts": {name: cost["drop"] for name, cost in evaluation["shifts"].items()},
        "notebook": notebook(root, asked.notebook_epochs),
    }


def _has_nine_classes(root: Path) -> bool:
    return LabelSet.load(root / LABEL_SET).identity == ISIC9.identity


def notebook(root: Path, epochs: int) -> dict[str, Any] | None:
    """Results of the notebook on the split in the copy's build/; None if it is skipped."""
    params = load(root / PARAMS_FILE)
    if not epochs or (params.base.architecture, params.base.image_size) != NOTEBOOK or not _has_nine_classes(root):
        print("skipping the notebook" + (": it supports only nine classes and MobileNetV2 at 224 pixels" if epochs else ""), flush=True)
        return None
    results = root / "benchmarks" / "results"
    command = [sys.executable, "-m", "benchmarks.notebook", "--epochs", str(epochs)]
    run_command(Command(command, "benchmarks/notebook.py"), print, {machine.RESULTS_ENV: str(results)}, root)
    return machine.read("notebook", results)


def run_measured_stage(root: Path, stage: str) -> dict[str, float]:
    """Run a stage through DVC; return total seconds, seconds by activity, and peak memory.

    `dvc`: before the stage's command starts and after its last output; `start`: from there to the start of the stage's work (Python
    and imports); `imports` and `mlflow`: within the work.
    """
    at: dict[str, float] = {}
    took: list[float] = []

    def heard(line: str) -> None:
        print(line, flush=True)
        if line.startswith("> "):
            at["command"] = time.perf_counter()
        if match := TOOK.search(line):
            at["took"], took[:] = time.perf_counter(), [float(seconds or 0) for seconds in match.groups()]

    begun = time.perf_counter()
    with measure_resources() as cost:
        run_stage(stage, heard, root=root, force=True)
    work, imports, mlflow = took
    own = at["took"] - at["command"]
    parts = {"dvc": time.perf_counter() - begun - own, "start": own - work, "imports": imports, "mlflow": mlflow, "work": work}
    return {**cost, **{name: round(seconds, 1) for name, seconds in parts.items()}}


@contextmanager
def measure_resources() -> Iterator[dict[str, float]]:
    """Measure wall seconds of the body and peak memory (MB, shared pages counted once) of its child processes in total."""
    cost, ended = {"seconds": 0.0, "peak_mb": 0.0}, threading.Event()

    def watch() -> None:
        while not ended.wait(POLL):
            cost["peak_mb"] = max(cost["peak_mb"], memory_mb())

    watcher, start = threading.Thread(target=watch), time.perf_counter()
    watcher.start()
    try:
        yield cost
    finally:
        cost["seconds"] = round(time.perf_counter() - start, 1)
        ended.set()
        watcher.join()
        cost["peak_mb"] = round(cost["peak_mb"])


def memory_mb() -> float:
    """Current memory of this process's children."""
    pss_bytes = 0
    for process in psutil.Process().children(recursive=True):
        try:
            pss_bytes += process.memory_full_info().pss
        except psutil.Error:  # the process has ended
            continue
    return pss_bytes / 2**20


if __name__ == "__main__":
    main()
