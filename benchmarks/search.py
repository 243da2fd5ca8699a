"""Cross-validate the default setting, search the head, and judge the best setting over folds and once on test.

    python -m benchmarks.search isic9.zip --weights mobilenet_v2.h5 [--parts folds search ...]

Works in the copy of the project that pipeline.py uses. Parts, in this order, each kept as soon as it is measured and not measured again:

    folds       `lesionflow cv` of the default setting, without and with its cache of features
    search      the flow `tuning` as params.yaml has it: trials of the head on validation, in a process for each core
    tuned       `lesionflow cv` of the best setting, compared fold by fold with `folds`
    over_folds  seconds of a trial whose objective is the mean over folds
    test        the pipeline with the default and with the best setting: the only look at test
    finetuned   the flow `cross-validation` of the default setting with fine-tuning, in a process for each core
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import pipeline
from benchmarks.harness import machine, tables
from benchmarks.harness.manifest import BenchmarkRequest, claim_results_folder
from components.core.paths import CROSS_VALIDATION, EVALUATION, TUNING
from components.core.reports.cross_validation import CrossValidation
from components.core.reports.evaluation import Estimate, Evaluation
from components.core.reports.tuning import TuningReport
from components.runtime.parallel import CORES
from components.search.comparison import compare
from flows.processes import LESIONFLOW, ROOT, Command, CommandFailed, run_command

NAME = "search"
KEPT = Path(".prefect/benchmark_search")
"""Folder of the reports that later parts need."""
FOLDS = Path("build/cv/folds")
OVER_FOLDS = ("tuning.objective=cross_validation", "tuning.trials=6")
CROSS_VALIDATED = {"folds": "head, default", "tuned": "head, best of the search", "finetuned": "fine-tuned, default"}
"""Parts with figures over folds, and the heads of their columns."""
SETTINGS = ("default", "tuned")
SHOWN = ("balanced_accuracy", "accuracy", "macro_f1", "critical_sensitivity", "calibration_error")


@dataclass(frozen=True)
class Search:
    """The copy in which parts are measured; `kept`: folder of reports of earlier parts."""

    asked: BenchmarkRequest
    seed: int
    kept: Path

    def built(self, *overrides: str, upto: str = "augment") -> Path:
        """The copy, up to date with these overrides."""
        asked = BenchmarkRequest.of(self.asked.source, [*self.asked.overrides, *overrides], 0)
        return pipeline.ensure_built(asked, self.seed, upto)

    def best(self) -> list[str]:
        """The best setting of the search, as overrides."""
        return [f"{key}={json.dumps(value)}" for key, value in TuningReport.read(self.kept / TUNING.name).best.items()]

    def folds(self) -> dict[str, Any]:
        """Seconds and figures of the default setting."""
        root = self.built()
        shutil.rmtree(root / "build/cv", ignore_errors=True)
        first = lesionflow(root, "cv")
        shutil.rmtree(root / FOLDS)
        seconds = lesionflow(root, "cv")
        return {"seconds_without_cache": first, "seconds": seconds, **self._keep_folds(root, "default.json")}

    def search(self) -> dict[str, Any]:
        """Seconds, trials and best setting of a search on validation."""
        root = self.built()
        shutil.rmtree(root / "build/tuning", ignore_errors=True)
        seconds = shared(root, "tuning")
        shutil.copy2(root / TUNING, self.kept)
        found = TuningReport.read(root / TUNING)
        kept = {key: getattr(found, key) for key in ("objective", "counts", "best", "best_value", "present", "present_value", "importance")}
        return {"seconds": seconds, "seconds_per_trial": seconds / sum(found.counts.values()), **kept}

    def tuned(self) -> dict[str, Any]:
        """Figures of the best setting, and its difference from the default."""
        root = self.built(*self.best())
        lesionflow(root, "cv")
        return self._compare_folds(root, "tuned.json")

    def over_folds(self) -> dict[str, Any]:
        """Seconds of a trial over folds."""
        root = self.built(*OVER_FOLDS)
        shutil.rmtree(root / "build/tuning", ignore_errors=True)
        seconds = lesionflow(root, "tune")
        counts = TuningReport.read(root / TUNING).counts
        return {"seconds_per_trial": seconds / sum(counts.values()), "counts": counts}

    def test(self) -> dict[str, Any]:
        """Balanced accuracy on test of the head alone and of what the pipeline picks, with the default and with the best setting."""
        found = {}
        for name, overrides in zip(SETTINGS, ([], self.best()), strict=True):
            evaluation = Evaluation.read(self.built(*overrides, upto="evaluate") / EVALUATION)
            values = {"head": evaluation.phases_on_test["frozen"].balanced_accuracy, "picked": evaluation.test.balanced_accuracy}
            found[name] = {key: asdict(value) for key, value in values.items()} | {"phase": evaluation.picked}
        return found

    def finetuned(self) -> dict[str, Any]:
        """Figures of fine-tuned folds, their difference from `folds`, and their seconds unless an interrupted run goes on."""
        root = self.built("cross_validation.phase=finetuned")
        started = self.kept / "finetuned.started"
        interrupted = started.exists()
        started.touch()
        seconds = shared(root, "cross_validation")
        found = self._compare_folds(root, "finetuned.json")
        return found if interrupted else {"seconds": seconds, **found}

    def _keep_folds(self, root: Path, name: str) -> dict[str, Any]:
        shutil.copy2(root / CROSS_VALIDATION, self.kept / name)
        report = CrossValidation.read(root / CROSS_VALIDATION)
        folds = [fold.figures["balanced_accuracy"] for fold in report.folds]
        recall = {key: asdict(value) for key, value in report.recall.items()}
        mean = {key: asdict(value) for key, value in report.mean.items()}
        return {"images": report.images, "groups": report.groups, "folds": folds, "mean": mean, "recall": recall}

    def _compare_folds(self, root: Path, name: str) -> dict[str, Any]:
        """Figures of another setting's folds, and what changes from those of the default."""
        found = self._keep_folds(root, name)
        before, after = (CrossValidation.read(self.kept / report) for report in ("default.json", name))
        return {**found, "differences": {metric: asdict(row) for metric, row in compare(before, after).items()}}


PARTS: Mapping[str, Callable[[Search], dict[str, Any]]] = {
    "folds": Search.folds,
    "search": Search.search,
    "tuned": Search.tuned,
    "over_folds": Search.over_folds,
    "test": Search.test,
    "finetuned": Search.finetuned,
}


def main() -> None:
    """Measure missing parts, and print the tables."""
    parser = pipeline.imagenet_arguments(__doc__)
    parser.set_defaults(seeds=[0])
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), help="default: all")
    given = parser.parse_args()
    if len(given.seeds) > 1:
        parser.error("--seeds takes one seed here: folds are the splits")
    machine.isolate_environment()
    asked = pipeline.imagenet_request(given)
    folder = claim_results_folder(asked, given.name or f"{asked.name}_{NAME}")
    try:
        text = measure_missing(Search(asked, given.seeds[0], ROOT / KEPT / folder.name), given, folder)
    except CommandFailed as fault:
        raise SystemExit(f"error: {fault}") from None
    print(f"{text}\n\nwritten to {folder / NAME}.json and .md")


def measure_missing(search: Search, given: argparse.Namespace, folder: Path) -> str:
    """Measure and write the asked parts that are not there; return the tables."""
    search.kept.mkdir(parents=True, exist_ok=True)
    document = machine.read(NAME, folder) or {"seed": search.seed}
    for name, part in PARTS.items():
        if name in given.parts and name not in document:
            document[name] = {"machine": machine.describe(), **part(search)}
            machine.write(NAME, document, folder, report(document))
    return report(document)


def lesionflow(root: Path, command: str) -> float:
    """Run a command of the copy in one process; return its seconds."""
    return _seconds_of(Command([*LESIONFLOW, command], f"lesionflow {command}"), root)


def shared(root: Path, flow: str) -> float:
    """Run a flow of the copy with a process of one thread for each core; return its seconds, with those of its Prefect server."""
    options = ["--workers", str(CORES), "--threads", "1"]
    return _seconds_of(Command([sys.executable, "-m", f"flows.{flow}", *options], f"flows.{flow}"), root)


def _seconds_of(command: Command, root: Path) -> float:
    started = time.perf_counter()
    run_command(command, print, root=root)
    return time.perf_counter() - started


def report(document: Mapping[str, Any]) -> str:
    """The tables in Markdown, of the parts that are there."""
    columns = {title: document[name] for name, title in CROSS_VALIDATED.items() if name in document}
    lines = [f"Seed {document['seed']}."]
    if columns:
        found = next(iter(columns.values()))
        lines[0] += f" {found['images']} images of {found['groups']} lesions, without test. Recall is of all folds' images."
        figures = [("mean", name, name.replace("_", " ")) for name in SHOWN if name in found["mean"]]
        figures += [("recall", name, f"recall, {name}") for name in found["recall"]]
        rows = [[title, *(_cell(column[kind][name]) for column in columns.values())] for kind, name, title in figures]
        lines.append(tables.table(["mean over folds", *columns], rows))
    lines.append(tables.table(["", "value"], [*_seconds(document), *_search(document), *_test(document)]))
    return "\n\n".join(lines)


def _seconds(document: Mapping[str, Any]) -> list[list[str]]:
    found = [
        ("seconds of `lesionflow cv` without its cache", "folds", "seconds_without_cache"),
        ("seconds of `lesionflow cv` with its cache", "folds", "seconds"),
        ("seconds of fine-tuned folds, a process for each core", "finetuned", "seconds"),
        ("seconds of the search on validation, a process for each core", "search", "seconds"),
        ("seconds of that by trials", "search", "seconds_per_trial"),
        ("seconds a trial over folds, one process", "over_folds", "seconds_per_trial"),
    ]
    return [[name, f"{document[part][key]:.1f}"] for name, part, key in found if key in document.get(part, {})]


def _search(document: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    if found := document.get("search"):
        counts = ", ".join(f"{count} {state}" for state, count in found["counts"].items())
        rows += [["trials", counts], ["best and default on validation", f"{found['best_value']:.3f}, {found['present_value']:.3f}"]]
        rows += [[f"`{key}`, best (default)", f"{value} ({found['present'][key]})"] for key, value in found["best"].items()]
    for part, what in (("tuned", "best less default"), ("finetuned", "fine-tuned less head")):
        if part in document:
            row = document[part]["differences"]["balanced_accuracy"]
            rows.append([f"balanced accuracy over folds, {what}", _cell(row["change"])])
            rows.append([f"standard error of {what}", f"{row['standard_error']:.3f}"])
    return rows


def _test(document: Mapping[str, Any]) -> list[list[str]]:
    if not (found := document.get("test")):
        return []
    return [
        [f"balanced accuracy on test, {setting} setting, {what}", _cell(found[setting][key])]
        for setting in SETTINGS
        for key, what in (("head", "head alone"), ("picked", found[setting]["phase"]))
    ]


def _cell(estimate: Mapping[str, float]) -> str:
    return f"{Estimate(**estimate):.3f}"


if __name__ == "__main__":
    main()
