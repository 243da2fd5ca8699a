"""Pool the clinic's figures over several splits of one dataset: operating points, prediction sets, calibration, abstention, views.

    python -m benchmarks.clinic isic9.zip --weights mobilenet_v2.h5 --seeds 1 2 3

Works in the copy of the project that pipeline.py uses. For each seed the stages run through DVC up to `index`. The test images of all seeds
are pooled: each is judged by the thresholds of its own seed, and intervals draw whole lesions, of which one may be in several test splits.
What is measured for each seed as a whole (repeatability, non-lesions) is averaged. The reports of a seed are kept as soon as it is built,
and it is not built again. Nothing is chosen here.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks import pipeline
from benchmarks.harness import machine, tables
from benchmarks.harness.manifest import BenchmarkRequest, claim_results_folder
from components.core import decision
from components.core.files import read_json
from components.core.paths import CANDIDATE, PREDICTIONS_FILENAME, REPORTS
from components.core.reports.evaluation import Estimate
from components.evaluation.bootstrap import Resampling
from components.evaluation.clinic.probability_calibration import calibration_figures
from components.serving.answers import TRIAGE
from flows.processes import ROOT, CommandFailed

NAME = "clinic"
KEPT = Path(".prefect/benchmark_clinic")
"""Folder of each seed's reports and predictions."""
COPIED = (
    CANDIDATE / PREDICTIONS_FILENAME,
    CANDIDATE / "candidate.json",
    *(REPORTS / f"{name}.json" for name in ("evaluation", "clinic", "index", "split")),
)
RESAMPLES = 1000
CHANGES = ("symmetries", "shift_1_px", "jpeg_95")


def main() -> None:
    """Build missing seeds, pool them, and print the tables."""
    given = pipeline.imagenet_arguments(__doc__).parse_args()
    machine.isolate_environment()
    asked = pipeline.imagenet_request(given)
    folder = claim_results_folder(asked, given.name or f"{asked.name}_{NAME}")
    for seed in given.seeds:
        try:
            keep(asked, seed, ROOT / KEPT / folder.name / str(seed))
        except CommandFailed as fault:
            raise SystemExit(f"error: {fault}") from None
    found = pool([Seed.read(ROOT / KEPT / folder.name / str(seed)) for seed in given.seeds])
    text = report(found, given.seeds)
    path = machine.write(NAME, {"machine": machine.describe(), "seeds": given.seeds, **found}, folder, text)
    print(f"{text}\n\nwritten to {path} and .md")


def keep(asked: BenchmarkRequest, seed: int, folder: Path) -> None:
    """Build a seed and copy its reports and predictions to the folder, unless they are there."""
    if folder.exists():
        return
    root = pipeline.ensure_built(asked, seed, upto="index")
    draft = folder.with_suffix(".partial")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for path in COPIED:
        shutil.copy2(root / path, draft / path.name)
    draft.replace(folder)


@dataclass(frozen=True)
class Seed:
    """What one seed found: a row per test image, its candidate.json and its reports by name."""

    images: pd.DataFrame
    candidate: dict[str, Any]
    reports: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> "Seed":
        """Read the folder that `keep` made."""
        reports = {path.stem: read_json(path) for path in folder.glob("*.json")}
        return cls(pd.read_parquet(folder / PREDICTIONS_FILENAME), reports.pop("candidate"), reports)

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs, in order."""
        return list(self.candidate["outputs"])

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Calibrated probabilities, (n, outputs)."""
        return self.images[[f"p_{name}" for name in self.outputs]].to_numpy(dtype=np.float64)

    def judged(self) -> pd.DataFrame:
        """A row per test image: its group, and by the seed's own thresholds what the answer was worth."""
        labels, truth = self.candidate["label_set"], self.images["diagnosis"].to_numpy(dtype=str)
        malignant = [self.outputs.index(name) for name in labels["malignant"]]
        critical = self.outputs.index(labels["critical"])
        lifted = np.exp(np.log(np.maximum(self.probabilities, decision.SMALLEST)) + np.array(self.candidate["decision_offsets"]))
        lifted /= lifted.sum(axis=1, keepdims=True)
        position = np.array([self.outputs.index(name) for name in truth])
        inside = decision.prediction_sets(self.probabilities, self.candidate["set_thresholds"])
        return pd.DataFrame(
            {
                "group": self.images["group"],
                "class": truth,
                "malignant": np.isin(truth, labels["malignant"]),
                "critical": truth == labels["critical"],
                "p_malignant": self.probabilities[:, malignant].sum(axis=1),
                "p_critical": self.probabilities[:, critical],
                "lifted_malignant": lifted[:, malignant].sum(axis=1),
                "lifted_critical": lifted[:, critical],
                "flagged": self.probabilities[:, malignant].sum(axis=1) >= self.candidate["operating_points"][TRIAGE],
                "covered": inside[np.arange(len(truth)), position],
                "set_size": inside.sum(axis=1),
                "no_malignant_in_set": ~inside[:, malignant].any(axis=1),
                "abstained": decision.too_uncertain(self.probabilities, self.candidate["abstention_threshold"]),
                "right": decision.named_outputs(self.probabilities, self.candidate["decision_offsets"]) == position,
            }
        )


def pool(seeds: Sequence[Seed]) -> dict[str, Any]:
    """The pooled figures, as estimates with 95 % intervals by lesion, and those that are averaged over seeds."""
    images = pd.concat([seed.judged() for seed in seeds], ignore_index=True)
    resampling = Resampling.of_groups(images["group"].to_numpy(), RESAMPLES, seed=0)
    return {
        "images": len(images),
        "lesions": int(images["group"].nunique()),
        "target_coverage": seeds[0].reports["evaluation"]["prediction_sets"]["target"],
        "shares": {name: vars(found) for name, found in shares(images, resampling).items()},
        "calibration": {
            name: {key: vars(value) for key, value in found.items()} for name, found in calibration(images, resampling).items()
        },
        "set_size": float(images["set_size"].mean()),
        "views": {str(count): of_views(seeds, str(count)) for count in (1, 2, 4, 8)},
        "chosen_views": [seed.candidate["views"] for seed in seeds],
        "non_lesions_detected": [seed.reports["index"]["detected"]["value"] for seed in seeds],
        "false_alarms": [seed.reports["index"]["false_alarms"]["either"]["value"] for seed in seeds],
        "balanced_accuracy": [seed.reports["evaluation"]["test"]["balanced_accuracy"]["value"] for seed in seeds],
    }


def shares(images: pd.DataFrame, resampling: Resampling) -> dict[str, Estimate]:
    """Shares of the pooled images, by name: of which images, and which of them count."""
    every, malignant, abstained = np.ones(len(images), dtype=bool), images["malignant"].to_numpy(), images["abstained"].to_numpy()
    named: dict[str, tuple[NDArray[np.bool_], str]] = {
        "covered": (every, "covered"),
        "critical covered": (images["critical"].to_numpy(), "covered"),
        "triage sensitivity": (malignant, "flagged"),
        **{f"triage sensitivity, {name}": ((images["class"] == name).to_numpy(), "flagged") for name in malignant_classes(images)},
        "triage flags, benign": (~malignant, "flagged"),
        "no malignant class in the set, malignant": (malignant, "no_malignant_in_set"),
        "no malignant class in the set, benign": (~malignant, "no_malignant_in_set"),
        "abstained": (every, "abstained"),
        "abstained, malignant": (malignant, "abstained"),
        "accuracy, answered": (~abstained, "right"),
        "accuracy, abstained": (abstained, "right"),
        "accuracy": (every, "right"),
    }
    return {name: resampling.share(counted, images[column].to_numpy()) for name, (counted, column) in named.items()}


def malignant_classes(images: pd.DataFrame) -> list[str]:
    """Names of the malignant classes among the images."""
    return sorted(images.loc[images["malignant"], "class"].unique())


def calibration(images: pd.DataFrame, resampling: Resampling) -> dict[str, dict[str, Estimate]]:
    """Brier score, intercept and slope of the critical and malignant probability, as given and as the lift would have made them."""
    found = {}
    for name in ("critical", "malignant"):
        positive = images[name].to_numpy()
        for said, probability in (("as given", images[f"p_{name}"].to_numpy()), ("with the lift", images[f"lifted_{name}"].to_numpy())):

            def figures(at: NDArray[np.intp], positive: Any = positive, probability: Any = probability) -> Mapping[str, float]:
                mean = {"mean probability": float(probability[at].mean()), "share": float(positive[at].mean())}
                return {**mean, **calibration_figures(positive[at], probability[at])}

            found[f"{name}, {said}"] = resampling.estimates(figures)
    return found


def of_views(seeds: Sequence[Seed], count: str) -> dict[str, list[float]]:
    """For each seed, the share of test images whose diagnosis changes under each change, and the balanced accuracy, with `count` views."""
    found = [seed.reports["clinic"]["views"]["by_count"][count] for seed in seeds]
    changed = {change: [row["repeatability"][change]["changed_diagnosis"]["value"] for row in found] for change in CHANGES}
    crossed = [row["repeatability"]["symmetries"]["crosses_triage"]["value"] for row in found]
    return {**changed, "crosses_triage": crossed}


def report(found: Mapping[str, Any], seeds: Sequence[int]) -> str:
    """The tables in Markdown."""
    mean = tables.mean_with_interval
    shares_table = tables.table(["share of test images", "value"], [[name, _cell(value)] for name, value in found["shares"].items()])
    names = ["mean probability", "share", "brier", "in_the_large", "intercept", "slope"]
    lines = [[name, *(_cell(figures[key]) if key in figures else "" for key in names)] for name, figures in found["calibration"].items()]
    views = [[count, *(mean(row[change]) for change in (*CHANGES, "crosses_triage"))] for count, row in found["views"].items()]
    alone = [
        ["views chosen on validation", ", ".join(map(str, found["chosen_views"]))],
        ["classes in a set", f"{found['set_size']:.2f}"],
        ["made non-lesions detected", mean(found["non_lesions_detected"])],
        ["false alarms of that", mean(found["false_alarms"])],
        ["balanced accuracy", mean(found["balanced_accuracy"])],
    ]
    intro = f"Seeds {', '.join(map(str, seeds))}: {found['images']} test images of {found['lesions']} lesions, pooled."
    return "\n\n".join(
        [
            f"{intro} Sets are made to cover {found['target_coverage']:g}.",
            shares_table,
            tables.table(["probability", *names], lines),
            "Mean of the seeds: share of the test images whose diagnosis changes, and that cross the operating point when turned.",
            tables.table(["views", "mirrored or turned", "moved", "compressed", "crosses triage"], views),
            tables.table(["mean of the seeds", "value"], alone),
        ]
    )


def _cell(estimate: Mapping[str, float]) -> str:
    return f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"


if __name__ == "__main__":
    main()
