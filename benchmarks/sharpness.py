"""Compare methods against sensitivity to image sharpness: one resolution for all images, sharpening as augmentation, both, or neither.

    python -m benchmarks.sharpness isic9.zip --weights mobilenet_v2.h5 --seeds 1 2 3

Works in the copy of the project that pipeline.py uses. For each seed and variant the stages run through DVC up to `evaluate`; shared
stages come from DVC's cache. The candidate then predicts all validation images, unchanged and sharpened, and all test images; balanced
accuracy on test under each shift is `evaluate`'s own. Each row is written as soon as it is measured, and existing rows are not measured
again. Choose by validation; test is only for reporting.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks import ablation, pipeline
from benchmarks.harness import machine, tables
from benchmarks.harness.labels import CLASSES, ISIC9
from benchmarks.harness.manifest import BenchmarkRequest, claim_results_folder
from components.core import catalog, decision
from components.core.paths import CANDIDATE, DATA, EVALUATION, MODEL_FILENAME, SPLITS
from components.core.reports.candidate import Candidate
from components.core.reports.evaluation import Evaluation
from components.evaluation import robustness
from components.evaluation.predictions import Predictions
from components.evaluation.robustness import Classify
from components.evaluation.shifts import SHIFTS
from components.imaging import images
from components.imaging.images import Pixels
from components.imaging.model_input import ModelInput
from components.modeling import classifier, serialization
from components.runtime import renamed_params
from components.runtime.tensorflow import load_tensorflow
from flows.processes import CommandFailed

NAME = "sharpness"
NONE = "none"
AS_IT_IS = "as it is"
SHARPENED = tuple(name for name in SHIFTS if name.startswith("sharpened"))
REPORTED = {"validation": SHARPENED, "test": tuple(SHIFTS)}
"""Shifts of each split: the choice on validation needs no others, and each costs a pass of the network."""
PREDICTED: dict[str, tuple[str, ...]] = {"validation": SHARPENED, "test": ()}
"""Shifts that are predicted here."""
LOSS = tables.Target(0.03, most=True)
"""Target for balanced accuracy under strong sharpening."""
Row = dict[str, Any]


def main() -> None:
    """Measure missing rows, and print the tables."""
    parser = pipeline.imagenet_arguments(__doc__)
    parser.add_argument("--share", type=float, default=0.5, metavar="SHARE", help="share of sharpened views (default: %(default)s)")
    parser.add_argument("--resolution", default="auto", metavar="PIXELS", help="images.resolution (default: %(default)s)")
    parser.add_argument("--variants", nargs="+", choices=variants("auto", 0), default=None, metavar="NAME", help="(default: all)")
    given = parser.parse_args()
    machine.isolate_environment()
    asked = pipeline.imagenet_request(given)
    folder = claim_results_folder(asked, given.name or f"{asked.name}_{NAME}")
    wanted = variants(given.resolution, given.share)
    rows: list[Row] = (machine.read(NAME, folder) or {"rows": []})["rows"]
    for seed in given.seeds:
        for name in given.variants or wanted:
            if not any(matches(row, seed, wanted[name]) for row in rows):
                rows.append({"variant": name, "seed": seed, "overrides": wanted[name], **measure(asked, seed, wanted[name])})
                machine.write(NAME, {"machine": machine.describe(), "rows": rows}, folder)
    text = report(rows)
    path = machine.write(NAME, {"machine": machine.describe(), "rows": rows}, folder, text)
    print(f"{text}\n\nwritten to {path} and .md")


def variants(resolution: str, share: float) -> dict[str, list[str]]:
    """Params of each variant."""
    one, sharpen = f"images.resolution={resolution}", f"augment.sharpen_probability={share:g}"
    return {NONE: ["images.resolution=null", "augment.sharpen_probability=0"], "resolution": [one, "augment.sharpen_probability=0"]} | {
        "sharpen": ["images.resolution=null", sharpen],
        "both": [one, sharpen],
    }


def matches(row: Row, seed: int, overrides: list[str]) -> bool:
    """Whether the row was measured with this seed and exactly these params."""
    return bool(row["seed"] == seed and [renamed_params.with_new_key(override) for override in row["overrides"]] == overrides)


def measure(asked: BenchmarkRequest, seed: int, overrides: list[str]) -> Row:
    """Run the stages, and predict all validation and test images with the candidate."""
    start = time.perf_counter()
    try:
        root = pipeline.ensure_built(replace(asked, overrides=(*asked.overrides, *overrides)), seed, upto="evaluate")
    except CommandFailed as fault:
        raise SystemExit(f"error: {fault}") from None
    seconds = time.perf_counter() - start
    load_tensorflow()
    candidate = Candidate.read(root / CANDIDATE / "candidate.json")
    if candidate.label_set.identity != ISIC9.identity:
        raise SystemExit("error: this benchmark requires the nine classes of isic9. Set labels: isic9 in params.yaml.")
    model_input = ModelInput(candidate.image_size, candidate.resolution)
    infer = classifier.inference_function(serialization.load_classifier(root / CANDIDATE / MODEL_FILENAME))

    def classify(pixels: Pixels) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
        probabilities = infer(pixels)
        return probabilities, decision.named_outputs(probabilities, candidate.decision_offsets)

    by_split = {
        split: predictions_under_shifts(classify, catalog.load_split(split, root / SPLITS), model_input, root / DATA, shifts)
        for split, shifts in PREDICTED.items()
    }
    results = Evaluation.read(root / EVALUATION).shifts
    by_split["test"]["shifts"] = {shift: results[shift].balanced_accuracy for shift in SHIFTS}
    return {"seconds": round(seconds), "resolution": candidate.resolution, "picked": candidate.phase, "sides": by_split}


def predictions_under_shifts(
    classify: Classify, frame: pd.DataFrame, model_input: ModelInput, root: Path, shifts: tuple[str, ...]
) -> dict[str, Any]:
    """True classes, groups and predicted classes under each shift of a split's images, one digit per image, in order."""
    paths = [root / path for path in frame["path"]]
    blocks = [paths[start : start + robustness.BATCH] for start in range(0, len(paths), robustness.BATCH)]
    size, resolution = model_input.size, model_input.resolution
    answers = [classify(np.stack([images.load_pixels(path.read_bytes(), size, resolution) for path in block])) for block in blocks]
    probabilities, named = (np.concatenate(parts) for parts in zip(*answers, strict=True))
    clean = Predictions(frame, probabilities, ISIC9, named)
    shifted = robustness.predict_under_shifts(classify, clean, model_input, root=root, shifts=shifts) if shifts else {}
    return {
        "truth": "".join(map(str, ISIC9.encode(frame["diagnosis"]))),
        "groups": pd.factorize(frame["group"])[0].tolist(),
        "predicted": {name: "".join(map(str, scored.predicted)) for name, scored in {AS_IT_IS: clean, **shifted}.items()},
    }


def report(rows: list[Row]) -> str:
    """Tables of validation for the choice, then test, drop under each shift, and recall of each class."""
    if not rows:
        return "nothing was measured"
    names = list(dict.fromkeys(row["variant"] for row in rows))
    by_variant = {name: [row for row in rows if row["variant"] == name] for name in names}
    parts = [
        f"{split}: balanced accuracy, mean over seeds; gains on `{NONE}` in pairs\n\n{compared(by_variant, split)}" for split in REPORTED
    ]
    parts.append(f"test: lost under each shift\n\n{losses(by_variant)}")
    parts.append(f"test: found of each class\n\n{recalls(by_variant)}")
    best = max(names, key=lambda name: np.mean([worst(row, "validation") for row in by_variant[name]]))
    parts.append(f"Largest on validation where it is least, as it is and under every sharpening: {best}.")
    return "\n\n".join(parts)


def balanced(row: Row, split: str, shift: str) -> float:
    """Balanced accuracy of a row under a shift."""
    found = row["sides"][split]
    if shift in found.get("shifts", {}):
        return float(found["shifts"][shift])
    return ablation.balanced(ablation.decode_classes(found["truth"]), ablation.decode_classes(found["predicted"][shift]))


def worst(row: Row, split: str) -> float:
    """Smallest balanced accuracy over the unchanged images and every sharpening."""
    return min(balanced(row, split, shift) for shift in (AS_IT_IS, *SHARPENED))


def compared(by_variant: dict[str, list[Row]], split: str) -> str:
    """One line per variant."""
    head = ["variant", "seeds", "resolution", AS_IT_IS, "gain", *(name.replace("_", " ") for name in SHARPENED), "least of these"]
    head += ["worst loss of these shifts", "", "lost, sharpened strong", "", ""]
    lines = []
    for name, rows in by_variant.items():
        cells = [tables.mean_with_interval([balanced(row, split, shift) for row in rows]) for shift in (AS_IT_IS, *SHARPENED)]
        lost = {shift: float(np.mean([loss(row, split, shift) for row in rows])) for shift in REPORTED[split]}
        hardest = max(lost, key=lost.__getitem__)
        lines.append(
            [
                name,
                ", ".join(str(row["seed"]) for row in rows),
                ", ".join(dict.fromkeys(str(row["resolution"]) for row in rows)),
                cells[0],
                gain(rows, by_variant.get(NONE, []), split),
                *cells[1:],
                f"{np.mean([worst(row, split) for row in rows]):.3f}",
                f"{lost[hardest]:.3f}",
                hardest.replace("_", " "),
                *tables.target_cells(LOSS, [loss(row, split, "sharpened_strong") for row in rows]),
            ]
        )
    return tables.table(head, lines)


def gain(rows: list[Row], base: list[Row], split: str) -> str:
    """Mean gain on unchanged images, with its paired bootstrap interval over lesions; empty for the baseline."""
    mine, others = ({row["seed"]: {split: row["sides"][split]["predicted"][AS_IT_IS]} for row in of} for of in (rows, base))
    frames = {
        row["seed"]: {
            split: pd.DataFrame({"target": ablation.decode_classes(row["sides"][split]["truth"]), "group": row["sides"][split]["groups"]})
        }
        for row in rows
    }
    return "" if rows is base else ablation.gain(mine, others, frames, split)


def loss(row: Row, split: str, shift: str) -> float:
    """Drop of balanced accuracy under a shift."""
    return balanced(row, split, AS_IT_IS) - balanced(row, split, shift)


def losses(by_variant: dict[str, list[Row]]) -> str:
    """Test results: one line per shift, one column per variant."""
    lines = [
        [shift.replace("_", " "), *(tables.mean_with_interval([loss(row, "test", shift) for row in rows]) for rows in by_variant.values())]
        for shift in SHIFTS
    ]
    return tables.table(["shift", *by_variant], lines)


def recalls(by_variant: dict[str, list[Row]]) -> str:
    """Unchanged test images: one line per class, one column per variant, with correct predictions over all seeds and their total."""

    def found(rows: list[Row], number: int) -> str:
        right = of = 0
        for row in rows:
            split = row["sides"]["test"]
            truth, said = ablation.decode_classes(split["truth"]), ablation.decode_classes(split["predicted"][AS_IT_IS])
            right, of = right + int((said[truth == number] == number).sum()), of + int((truth == number).sum())
        return f"{right} of {of} ({right / of:.2f})" if of else ""

    lines = [[name.replace("_", " "), *(found(rows, number) for rows in by_variant.values())] for number, name in enumerate(CLASSES)]
    return tables.table(["class", *by_variant], lines)


if __name__ == "__main__":
    main()
