"""Pick the better of frozen and fine-tuned on validation, calibrate it there, and report on test once, as it is and under shifts.

Reads build/shards/, build/features/, build/frozen/, build/finetuned/ and, for the shifts, data/. Writes build/candidate/ (the
calibrated classifier, what it is, its test predictions), reports/evaluation.json, reports/clinic.json, and pictures and tables in
reports/evaluation/.
"""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from components.core import catalog, decision
from components.core.files import atomic_write, read_json, require_file
from components.core.label_set import LabelSet
from components.core.paths import (
    CANDIDATE,
    CLINIC,
    DATA,
    EVALUATION,
    EVALUATION_PLOTS,
    FEATURES,
    FINETUNED,
    FROZEN,
    MODEL_FILENAME,
    PREDICTIONS_FILENAME,
    RESOLUTION,
)
from components.core.reports.candidate import Base, Candidate
from components.core.reports.clinic import Clinic
from components.core.reports.evaluation import Evaluation, Subgroups
from components.evaluation import calibration, halves, leave_one_collection_out, metrics, prediction_sets, report, robustness, subgroups
from components.evaluation.clinic import measurement as clinic_measurement
from components.evaluation.clinic import plots as clinic_plots
from components.evaluation.clinic.operating_points import TRIAGE
from components.evaluation.clinic.plan import read_plan
from components.evaluation.leave_one_collection_out import ImageFeatures
from components.evaluation.measurement import Breakdown, Calibration, Selection, TestScores, measure
from components.evaluation.predictions import Predictions
from components.evaluation.robustness import Classify
from components.evaluation.shifts import worst_shift
from components.imaging import tfrecords
from components.imaging.images import Pixels
from components.imaging.model_input import ModelInput
from components.modeling import serialization
from components.modeling.classifier import get_extractor, inference_function, logits_model, probabilities, with_temperature
from components.modeling.determinism import seed_everything
from components.modeling.features import pooled_batches
from components.runtime.params import Settings
from components.runtime.params_file import load
from components.runtime.stage import run

if TYPE_CHECKING:
    import keras

PHASE_FOLDERS = {"frozen": FROZEN, "finetuned": FINETUNED}
IMAGE_COLUMNS = ["path", "pixels_sha256", "diagnosis", "group"]


def predict_logits(classifier: "keras.Model", split: str) -> tuple[pd.DataFrame, NDArray[np.float32]]:
    """Images of a split in the shards' order, and the classifier's logits for each."""
    predict, paths, logits = inference_function(logits_model(classifier)), [], []
    with tqdm(total=tfrecords.view_count(split), desc=split, unit="image", mininterval=1) as bar:
        for batch in tfrecords.iter_batches(split):
            logits.append(predict(batch["pixels"]))
            paths += tfrecords.paths_of(batch)
            bar.update(len(batch["path"]))
    return rows_for_paths(paths, split)[IMAGE_COLUMNS], np.concatenate(logits)


def predict_split(classifier: "keras.Model", split: str, labels: LabelSet) -> tuple[Predictions, NDArray[np.float32]]:
    """Uncalibrated probabilities of a split, and the logits they come from."""
    images, logits = predict_logits(classifier, split)
    return Predictions(images, probabilities(logits), labels), logits


def calibrated_classifier(classifier: "keras.Model", temperature: float, offsets: NDArray[np.float64]) -> Classify:
    """The classifier with this temperature, which names diagnoses with these offsets."""
    predict = inference_function(logits_model(classifier))

    def classify(pixels: Pixels) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
        found = probabilities(predict(pixels), temperature)
        return found, decision.named_outputs(found, offsets)

    return classify


def load_features(frozen: "keras.Model") -> tuple[ImageFeatures, ImageFeatures]:
    """The frozen base's features of training images (of each its first view, as `embed` wrote them) and of test images."""
    views = pd.read_parquet(require_file(FEATURES / "train.parquet"))
    first = np.flatnonzero(views["view"] == 0)
    train = ImageFeatures(
        rows_for_paths(views["path"].iloc[first].tolist(), "train"), np.load(FEATURES / "train.npy", mmap_mode="r")[first]
    )
    batches = [(tfrecords.paths_of(batch), pooled) for batch, pooled in pooled_batches(get_extractor(frozen), "test")]
    paths = [path for some, _ in batches for path in some]
    return train, ImageFeatures(rows_for_paths(paths, "test"), np.concatenate([features for _, features in batches]))


def rows_for_paths(paths: list[str], split: str) -> pd.DataFrame:
    """The rows of these images of a split, in their order."""
    return catalog.load_split(split).set_index("path").loc[paths].reset_index()


def select_phase(classifiers: "dict[str, keras.Model]", labels: LabelSet, seed: int) -> Selection:
    """Score every phase on validation, and pick one on its fitting half."""
    validation = {name: predict_split(classifier, "validation", labels) for name, classifier in classifiers.items()}
    images = next(iter(validation.values()))[0].images
    fitting = halves.fitting_half(images, seed)
    on_fitting, on_calibration = np.flatnonzero(fitting), np.flatnonzero(~fitting)
    predictions = {name: predicted.where(on_fitting) for name, (predicted, _) in validation.items()}
    phase = better_phase(predictions)
    scored, logits = validation[phase]
    return Selection(phase, predictions, logits[on_fitting], scored.where(on_calibration), logits[on_calibration])


def better_phase(on_validation: dict[str, Predictions]) -> str:
    """The phase with the better balanced accuracy on validation; the frozen one, being simpler, when they are equal."""
    accuracies = {name: metrics.balanced_accuracy(scored.truth, scored.predicted) for name, scored in on_validation.items()}
    return max(accuracies, key=lambda name: (accuracies[name], name == "frozen"))


def calibrate(selection: Selection, settings: Settings) -> Calibration:
    """Fit the lift of the critical class and the temperature on the fitting half, then the thresholds on the calibration half."""
    params, scored = settings.evaluate, selection.validation[selection.phase]
    lift = calibration.critical_lift(scored, selection.logits, params.target_critical_sensitivity)
    temperature = calibration.fit_temperature(scored.truth, partial(probabilities, selection.logits))
    unseen = replace(selection.calibration, probabilities=probabilities(selection.calibration_logits, temperature))
    return Calibration(lift, temperature, prediction_sets.calibrate(unseen, params.set_coverage, settings.serve.max_abstention))


def calibrated_validation(selection: Selection, fitted: Calibration) -> Predictions:
    """The picked phase on the fitting half of validation, with the probabilities that the candidate gives."""
    return replace(selection.validation[selection.phase], probabilities=probabilities(selection.logits, fitted.temperature))


def score_on_test(
    classifiers: "dict[str, keras.Model]", phase: str, fitted: Calibration, labels: LabelSet, model_input: ModelInput
) -> TestScores:
    """Score every phase on test, and the picked one calibrated: the lift decides which diagnosis is named, and no probability."""
    test = {name: predict_split(classifier, "test", labels) for name, classifier in classifiers.items()}
    scored, logits = test[phase]
    calibrated = probabilities(logits, fitted.temperature)
    offsets = calibration.decision_offsets(labels, fitted.critical_lift, fitted.temperature)
    named = decision.named_outputs(calibrated, offsets)
    before, after = replace(scored, named=named), replace(scored, probabilities=calibrated, named=named)
    classify = calibrated_classifier(classifiers[phase], fitted.temperature, offsets)
    shifted = robustness.predict_under_shifts(classify, after, model_input)
    return TestScores({name: predicted for name, (predicted, _) in test.items()}, before, after, shifted)


def measure_subgroups(test: Predictions, triage: float | None, settings: Settings) -> dict[str, Subgroups]:
    """The figures of every subgroup of the test images, whose metadata is in build/splits.parquet; `triage`: threshold of that operating
    point."""
    params = settings.evaluate
    method = subgroups.Method(params.min_subgroup_groups, params.bootstrap_resamples, params.calibration_bins, settings.seed, triage)
    values = subgroups.subgroup_values(rows_for_paths(test.images["path"].tolist(), "test"))
    return subgroups.measure_subgroups(test, values, method)


def describe_candidate(labels: LabelSet, evaluation: Evaluation, clinic: Clinic, model_input: ModelInput, settings: Settings) -> Candidate:
    """What candidate.json says, but the hash of the classifier, which is not written yet.

    Raises:
        ValueError: the evaluation has neither prediction sets nor abstention.
    """
    sets, abstention = evaluation.prediction_sets, evaluation.abstention
    if sets is None or abstention is None:
        raise ValueError("an evaluation of this release has prediction sets and abstention")
    return Candidate(
        phase=evaluation.picked,
        phase_sha256=serialization.classifier_sha256(PHASE_FOLDERS[evaluation.picked] / MODEL_FILENAME),
        model_sha256="",
        label_set=labels,
        outputs=labels.outputs,
        temperature=evaluation.temperature,
        critical_lift=evaluation.critical_lift,
        decision_offsets=tuple(calibration.decision_offsets(labels, evaluation.critical_lift, evaluation.temperature).tolist()),
        set_thresholds=tuple(sets.thresholds[name] for name in labels.outputs),
        abstention_threshold=abstention.threshold,
        operating_points={name: point.threshold for name, point in clinic.operating_points.items()},
        image_size=model_input.size,
        resolution=model_input.resolution,
        backbone=Base(**settings.base.model_dump()),
        test_split_hash=evaluation.test_split_hash,
    )


def write_candidate(classifier: "keras.Model", test: Predictions, described: Candidate) -> None:
    """Write build/candidate/: the classifier with its temperature, its test predictions, and what it is."""
    with atomic_write(CANDIDATE) as draft:
        draft.mkdir()
        serialization.save_classifier(with_temperature(classifier, described.temperature), draft / MODEL_FILENAME)
        test.table().to_parquet(draft / PREDICTIONS_FILENAME, index=False)
        hashed = described.model_copy(update={"model_sha256": serialization.classifier_sha256(draft / MODEL_FILENAME)})
        hashed.write(draft / "candidate.json")


def draw_plots(test: TestScores, evaluation: Evaluation, clinic: Clinic, model_input: ModelInput, settings: Settings) -> None:
    """Write reports/evaluation/."""
    with atomic_write(EVALUATION_PLOTS) as draft:
        draft.mkdir()
        report.draw_metrics(test.after, test.before, settings.evaluate.calibration_bins, settings.evaluate.gallery_images, draft)
        report.draw_shifts(evaluation.shifts, evaluation.collections_left_out or {}, draft)
        report.draw_subgroups(evaluation.subgroups, evaluation.test.balanced_accuracy, draft)
        clinic_plots.draw(clinic, test.after, draft / "clinic.png")
        example = (DATA / test.after.images["path"][0]).read_bytes()
        report.draw_shift_examples(example, model_input, draft)


def evaluate(settings: Settings) -> None:
    """Run the stage."""
    params, labels = settings.evaluate, LabelSet.load()
    model_input = ModelInput(settings.base.image_size, read_json(require_file(RESOLUTION))["resolution"])
    plan = read_plan(settings, labels)
    seed_everything(settings.seed)
    classifiers = {name: serialization.load_classifier(folder / MODEL_FILENAME) for name, folder in PHASE_FOLDERS.items()}
    selection = select_phase(classifiers, labels, settings.seed)
    fitted = calibrate(selection, settings)
    test = score_on_test(classifiers, selection.phase, fitted, labels, model_input)
    left_out = leave_one_collection_out.leave_one_collection_out(
        *load_features(classifiers["frozen"]), params.bootstrap_resamples, settings.seed
    )
    clinic = clinic_measurement.measure(calibrated_validation(selection, fitted), test.after, plan)
    triage = clinic.operating_points.get(TRIAGE)
    parts = Breakdown(left_out, measure_subgroups(test.after, triage.threshold if triage else None, settings))
    evaluation = measure(selection, fitted, test, parts, settings)
    described = describe_candidate(labels, evaluation, clinic, model_input, settings)
    write_candidate(classifiers[selection.phase], test.after, described)
    draw_plots(test, evaluation, clinic, model_input, settings)
    clinic.write(CLINIC)
    evaluation.write(EVALUATION)
    print_summary(evaluation)
    if triage:
        print(f"triage: {triage.text}")


def print_summary(evaluation: Evaluation) -> None:
    """Print the picked phase, its balanced accuracy, the worst shift and the worst subgroup."""
    hardest, worst = worst_shift(evaluation.shifts), subgroups.worst_subgroup(evaluation.subgroups)
    print(
        f"picked {evaluation.picked} on validation; balanced accuracy on {evaluation.test.images} test images"
        f" {evaluation.test.balanced_accuracy.value:.3f}, under {hardest.replace('_', ' ')} (the worst shift)"
        f" {evaluation.shifts[hardest].balanced_accuracy:.3f}"
    )
    if worst is not None:
        print(f"worst subgroup: {worst.name}, balanced accuracy {worst.balanced_accuracy:.3f}")
    if missing := subgroups.dimensions_left_out(evaluation.subgroups):
        print(f"no subgroups by {', '.join(missing)}: the test images have fewer than two known values")


if __name__ == "__main__":
    run(lambda: evaluate(load()), __doc__, tensorflow=True)
