"""Pick the better of frozen and fine-tuned on validation, calibrate it there, and report on test once, as it is and under shifts.

Reads build/shards/, build/features/, build/frozen/, build/finetuned/ and, for the shifts, data/. Writes build/candidate/ (the
calibrated classifier, what it is, its test predictions), reports/evaluation.json, and pictures and tables in reports/evaluation/.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from components.core import catalog
from components.core.classes import output_names
from components.core.files import existing, read_json, replacing, write_json
from components.core.paths import CANDIDATE, DATA, EVALUATION, FEATURES, FIGURES, FINETUNED, FROZEN, MODEL, PREDICTIONS, RESOLUTION
from components.evaluation import bootstrap, calibration, leave_one_collection_out, metrics, report, robustness
from components.evaluation.bootstrap import Estimate
from components.evaluation.calibration import operating_point
from components.evaluation.leave_one_collection_out import Featured
from components.evaluation.predictions import HEADLINES, Scored, difference
from components.evaluation.report import as_dicts, draw_metrics, validation_figures
from components.evaluation.shifts import worst
from components.imaging import tfrecords
from components.imaging.images import Pixels
from components.modeling import serialization
from components.modeling.classifier import compiled, extractor_of, lift_logits, logits_of, probabilities, with_temperature
from components.modeling.determinism import seed_everything
from components.modeling.features import pooled_batches
from components.runtime.params import Settings
from components.runtime.params_file import load
from components.runtime.stage import run

PHASES = {"frozen": FROZEN, "finetuned": FINETUNED}
COMPARED = ("accuracy", "balanced_accuracy", "macro_f1", "melanoma_sensitivity")
KEYS = ["path", "pixels_sha256", "diagnosis", "group"]


def logits(classifier: Any, side: str) -> tuple[pd.DataFrame, NDArray[np.float32]]:
    """Images of a side in the shards' order, and the classifier's logits for each."""
    headless, paths, found = compiled(logits_of(classifier)), [], []
    with tqdm(total=tfrecords.count(side), desc=side, unit="image", mininterval=1) as bar:
        for batch in tfrecords.in_order(side):
            found.append(headless(batch["pixels"]))
            paths += tfrecords.paths_of(batch)
            bar.update(len(batch["path"]))
    return of_paths(paths, side)[KEYS], np.concatenate(found)


def score(classifier: Any, side: str, task: str) -> tuple[Scored, NDArray[np.float32]]:
    """Uncalibrated probabilities of a side, and the logits they come from."""
    images, found = logits(classifier, side)
    return Scored(images, probabilities(found, task), task), found


def classifier_of(classifier: Any, task: str, temperature: float) -> Callable[[Pixels], NDArray[np.float64]]:
    """Calibrated probabilities as a function of pixels (n, size, size, 3)."""
    headless = compiled(logits_of(classifier))
    return lambda pixels: probabilities(headless(pixels), task, temperature)


def featured(frozen: Any) -> tuple[Featured, Featured]:
    """The frozen base's features of training images (of each its first view, as `embed` wrote them) and of test images."""
    views = pd.read_parquet(existing(FEATURES / "train.parquet"))
    first = np.flatnonzero(views["view"] == 0)
    train = Featured(of_paths(views["path"].iloc[first].tolist(), "train"), np.load(FEATURES / "train.npy", mmap_mode="r")[first])
    batches = [(tfrecords.paths_of(batch), pooled) for batch, pooled in pooled_batches(extractor_of(frozen), "test")]
    paths = [path for some, _ in batches for path in some]
    return train, Featured(of_paths(paths, "test"), np.concatenate([features for _, features in batches]))


def of_paths(paths: list[str], side: str) -> pd.DataFrame:
    """The split's rows of these images of a side, in their order."""
    return catalog.side(side).set_index("path").loc[paths].reset_index()


def pick(on_validation: dict[str, Scored]) -> str:
    """The phase with the better balanced accuracy on validation; the frozen one, being simpler, when they are equal."""
    worth = {name: metrics.balanced_accuracy(scored.truth, scored.probabilities) for name, scored in on_validation.items()}
    return max(worth, key=lambda name: (worth[name], name == "frozen"))


def evaluate(settings: Settings) -> None:
    """Run the stage."""
    knobs, task = settings.evaluate, settings.task
    size, resolution = settings.base.image_size, read_json(existing(RESOLUTION))["resolution"]
    seed_everything(settings.seed)
    classifiers = {name: serialization.read(folder / MODEL) for name, folder in PHASES.items()}
    validation = {name: score(classifier, "validation", task) for name, classifier in classifiers.items()}
    picked = pick({name: scored for name, (scored, _) in validation.items()})
    scored, raw = validation[picked]
    lift = operating_point(scored, raw, knobs.melanoma_sensitivity)
    temperature = calibration.fit_temperature(scored.truth, partial(probabilities, raw + lift, task))

    test = {name: score(classifier, "test", task) for name, classifier in classifiers.items()}
    lift_logits(classifiers[picked], lift)
    before = replace(test[picked][0], probabilities=probabilities(test[picked][1] + lift, task))
    after = replace(before, probabilities=probabilities(test[picked][1] + lift, task, temperature))
    shifted = robustness.under_shifts(classifier_of(classifiers[picked], task, temperature), after, size, resolution)
    samples = bootstrap.resamples(after.images["group"].to_numpy(), knobs.bootstrap, settings.seed)
    gain = difference(test["finetuned"][0], test["frozen"][0], "balanced_accuracy", samples, knobs.calibration_bins)
    costs = robustness.costs(after, shifted, samples, knobs.calibration_bins)
    left_out = leave_one_collection_out.left_out(*featured(classifiers["frozen"]), knobs.bootstrap, settings.seed)
    names = output_names(task)
    split_hash = catalog.split_hash(after.images)
    document = {
        "picked": picked,
        "temperature": temperature,
        "melanoma_lift": float(lift.max()),
        "test_split_hash": split_hash,
        "validation": {name: validation_figures(scored, knobs.calibration_bins) for name, (scored, _) in validation.items()},
        "test": {
            "images": len(after.images),
            "groups": int(after.images["group"].nunique()),
            **as_dicts(after.estimates(HEADLINES, samples, knobs.calibration_bins)),
            "calibration_error_before": as_dicts(before.estimates(("calibration_error",), samples, knobs.calibration_bins))[
                "calibration_error"
            ],
        },
        "phases_on_test": {
            name: as_dicts(scored.estimates(COMPARED, samples, knobs.calibration_bins)) for name, (scored, _) in test.items()
        },
        "finetuned_less_frozen_on_test": {"balanced_accuracy": gain.as_dict()},
        "shifts": costs,
        "collections_left_out": left_out,
        "averages": metrics.averages(after.truth, after.probabilities),
        "per_class": with_intervals(metrics.per_class(after.truth, after.probabilities, names), after.recalls(samples)),
        "few_groups": after.few_groups(),
    }
    candidate = {
        "phase": picked,
        "phase_sha256": serialization.fingerprint(PHASES[picked] / MODEL),
        "task": task,
        "outputs": list(names),
        "temperature": temperature,
        "melanoma_lift": float(lift.max()),
        "image_size": size,
        "resolution": resolution,
        "backbone": settings.base.model_dump(),
        "test_split_hash": split_hash,
    }
    with replacing(CANDIDATE) as draft:
        draft.mkdir()
        serialization.save(with_temperature(classifiers[picked], task, temperature), draft / MODEL)
        after.table().to_parquet(draft / PREDICTIONS, index=False)
        write_json(draft / "candidate.json", {**candidate, "model_sha256": serialization.fingerprint(draft / MODEL)})
    with replacing(FIGURES) as draft:
        draft.mkdir()
        draw_metrics(after, before, knobs.calibration_bins, knobs.gallery, draft)
        example = (DATA / after.images["path"][0]).read_bytes()
        report.draw_shifts(costs, left_out, example, size, resolution, draft)
    write_json(EVALUATION, document)
    value = after.headline("balanced_accuracy", np.arange(len(after.images)), knobs.calibration_bins)
    hardest = worst(costs)
    print(
        f"picked {picked} on validation; balanced accuracy on {len(after.images)} test images {value:.3f},"
        f" under {hardest.replace('_', ' ')} (the worst shift) {costs[hardest]['balanced_accuracy']:.3f}"
    )


def with_intervals(per_class: dict[str, dict[str, float]], recalls: dict[str, Estimate]) -> dict[str, dict[str, float]]:
    """The figures of each class, its recall with the bounds of its interval; a class without images has none."""
    bounds = {name: {"recall_low": found.low, "recall_high": found.high} for name, found in recalls.items()}
    return {name: {**row, **bounds.get(name, {})} for name, row in per_class.items()}


if __name__ == "__main__":
    run(lambda: evaluate(load()), __doc__, tensorflow=True)
