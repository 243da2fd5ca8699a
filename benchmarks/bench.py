"""Run all benchmarks on this machine and write tables to the terminal and to benchmarks/results/.

Each seed runs the whole pipeline in a copy of the project (benchmarks/pipeline.py); the other parts are measured on the outputs of the
last seed, each in its own process. Every result is written as soon as it is measured, and existing results are not measured again, so
an interrupted run can be resumed. The project's own data, params and registry are not changed.
"""

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import pipeline
from benchmarks.harness import machine, summary
from benchmarks.harness.manifest import BenchmarkRequest, claim_results_folder
from flows.processes import Command, CommandFailed, run_command


@dataclass(frozen=True)
class Part:
    """A benchmark: its arguments for full and quick runs, and whether it detects missing results itself."""

    full: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    goes_on: bool = False


PARTS = {
    "rates": Part(("--profile",), ("--profile", "--images", "256", "--rounds", "2")),
    "cuts": Part((), ("--images", "64", "--rounds", "1")),
    "computing": Part((), ("--quick", "--images", "128", "--rounds", "1")),
    "latency": Part((), ("--rounds", "40")),
    "overhead": Part((), ("--runs", "2")),
    "ablation": Part((), ("--epochs", "2", "--variants", "default"), goes_on=True),
}
NAMES = (pipeline.NAME, *PARTS)


def main() -> None:
    """Measure missing results, then print and write the report."""
    parser = pipeline.arguments(__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, few images and rounds: ten minutes for the sample, on two cores")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="PART", help=f"of {', '.join(NAMES)} (default: all)")
    given = parser.parse_args()
    machine.isolate_environment()
    asked = BenchmarkRequest.of(given.source, given.overrides, given.notebook_epochs, given.quick)
    folder = claim_results_folder(asked, given.name or asked.name)
    failed = measure(asked, given.seeds[:1] if given.quick else given.seeds, given.only, folder)
    text = report(asked, folder)
    (folder / "report.md").write_text(text, encoding="utf-8")
    print(f"\n{text}\nwritten to {folder / 'report.md'}")
    if failed:
        raise SystemExit("\n".join(f"error: {line}" for line in failed))


def measure(asked: BenchmarkRequest, seeds: list[int], wanted: Sequence[str], folder: Path) -> list[str]:
    """Measure the selected parts without a result; return error messages. The other parts continue if one fails.

    Raises:
        SystemExit: a stage of the pipeline failed, or the dataset could not be imported.
    """
    failed: list[str] = []
    try:
        if pipeline.NAME in wanted:
            pipeline.measure_missing(asked, seeds, folder)
        missing = todo(wanted, folder, asked.quick)
        root = pipeline.ensure_built(asked, seeds[-1]) if missing else Path()
    except CommandFailed as fault:
        raise SystemExit(f"error: {fault}") from None
    for name in missing:
        print(f"\n{name}:", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", *(PARTS[name].quick if asked.quick else PARTS[name].full)]
        try:
            run_command(Command(command, f"benchmarks/{name}.py"), print, {machine.RESULTS_ENV: str(folder.resolve())}, root)
        except CommandFailed as fault:
            failed.append(str(fault))
    return failed


def todo(wanted: Sequence[str], folder: Path, quick: bool) -> list[str]:
    """Parts to measure now, in order; prints which parts are skipped, and why."""
    missing = []
    for name, part in PARTS.items():
        if name not in wanted:
            continue
        if unknown := unknown_flags(name, part.quick if quick else part.full):
            print(f"skipping {name}: {name}.py {unknown}")
        elif machine.read(name, folder) and not part.goes_on:
            print(f"{name} is already measured: {folder / name}.json")
        else:
            missing.append(name)
    return missing


def unknown_flags(name: str, arguments: Sequence[str]) -> str:
    """Why a part cannot run with these arguments; empty if it can."""
    path = Path(__file__).with_name(f"{name}.py")
    if not path.exists():
        return "does not exist"
    source = path.read_text(encoding="utf-8")
    flags = [flag for flag in arguments if flag.startswith("--") and f'"{flag}"' not in source]
    return f"has no {' '.join(flags)}" if flags else ""


def report(asked: BenchmarkRequest, folder: Path) -> str:
    """All results as Markdown."""
    params = f" with {', '.join(asked.document()['overrides'])}" if asked.overrides else ""
    quick = ", quick run: only to check that the benchmarks work, do not quote these numbers" if asked.quick else ""
    sections = [f"# Measured on {machine.name()}", f"Dataset: {asked.dataset}{params}{quick}."]
    for name in NAMES:
        if document := machine.read(name, folder):
            sections += [f"## {name}", summary.report(document["rows"], folder.name) if name == pipeline.NAME else rendered(name, document)]
    return "\n\n".join(sections) + "\n"


def rendered(name: str, document: dict[str, Any]) -> str:
    """A part's results, formatted by its own `report` if it has one."""
    own = getattr(importlib.import_module(f"benchmarks.{name}"), "report", None)
    return str(own(document)) if own else f"See {name}.json."


if __name__ == "__main__":
    main()
