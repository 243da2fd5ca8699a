"""Pick the better of frozen and fine-tuned on validation, calibrate it there, and report on test once, as it is and under shifts.

Reads build/shards/, build/features/, build/frozen/, build/finetuned/ and, for the shifts, data/. Writes build/candidate/ (the
calibrated classifier, what it is, its test predictions), reports/evaluation.json, reports/clinic.json, the headline figures in
reports/metrics.json, and pictures and tables in reports/evaluation/.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

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
    HEADLINE,
    MODEL_FILENAME,
    PREDICTIONS_FILENAME,
    RESOLUTION,
)
from components.core.reports.candidate import Base, Candidate, MeasuredPoint
from components.core.reports.clinic import Clinic, Views
from components.core.reports.evaluation import Estimate, Evaluation, Subgroups
from components.core.reports.headline import headline
from components.evaluation import leave_one_collection_out, report, scoring, selection, subgroups
from components.evaluation.clinic import measurement as clinic_measurement
from components.evaluation.clinic import plots as clinic_plots
from components.evaluation.clinic import prevalence
from components.evaluation.clinic.operating_points import TRIAGE
from components.evaluation.clinic.plan import read_plan
from components.evaluation.clinic.views import measure_views
from components.evaluation.leave_one_collection_out import ImageFeatures
from components.evaluation.measurement import Breakdown, TestScores, measure
from components.evaluation.predictions import Predictions
from components.evaluation.shifts import worst_shift
from components.evaluation.view_counts import ViewFit
from components.imaging import tfrecords
from components.imaging.model_input import ModelInput
from components.modeling import serialization
from components.modeling.classifier import get_extractor, with_temperature
from components.modeling.determinism import seed_everything
from components.modeling.features import pooled_batches
from components.runtime.params import Settings
from components.runtime.params_file import load
from components.runtime.stage import run

if TYPE_CHECKING:
    import keras

PHASE_FOLDERS = {"frozen": FROZEN, "finetuned": FINETUNED}


def load_features(frozen: "keras.Model") -> tuple[ImageFeatures, ImageFeatures]:
    """The frozen base's features of training images (of each its first view, as `embed` wrote them) and of test images."""
    views = pd.read_parquet(require_file(FEATURES / "train.parquet"))
    first = np.flatnonzero(views["view"] == 0)
    train = ImageFeatures(
        scoring.rows_for_paths(views["path"].iloc[first].tolist(), "train"), np.load(FEATURES / "train.npy", mmap_mode="r")[first]
    )
    batches = [(tfrecords.paths_of(batch), pooled) for batch, pooled in pooled_batches(get_extractor(frozen), "test")]
    paths = [path for some, _ in batches for path in some]
    return train, ImageFeatures(scoring.rows_for_paths(paths, "test"), np.concatenate([features for _, features in batches]))


def measure_subgroups(test: Predictions, triage: float | None, settings: Settings) -> dict[str, Subgroups]:
    """The figures of every subgroup of the test images, whose metadata is in build/splits.parquet; `triage`: threshold of that operating
    point."""
    params = settings.evaluate
    method = subgroups.Method(params.min_subgroup_groups, params.bootstrap_resamples, params.calibration_bins, settings.seed, triage)
    values = subgroups.subgroup_values(scoring.rows_for_paths(test.images["path"].tolist(), "test"))
    return subgroups.measure_subgroups(test, values, method)


def describe_candidate(evaluation: Evaluation, clinic: Clinic, fit: ViewFit, model_input: ModelInput, settings: Settings) -> Candidate:
    """What candidate.json says, but the hash of the classifier, which is not written yet.

    Raises:
        ValueError: the evaluation has neither prediction sets nor abstention.
    """
    sets, abstention, labels = evaluation.prediction_sets, evaluation.abstention, evaluation.label_set
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
        decision_offsets=tuple(fit.offsets.tolist()),
        set_thresholds=tuple(sets.thresholds[name] for name in labels.outputs),
        abstention_threshold=abstention.threshold,
        operating_points={name: point.threshold for name, point in clinic.operating_points.items()},
        measured_points={
            name: MeasuredPoint(sensitivity=point.sensitivity.value, specificity=point.specificity.value)
            for name, point in clinic.operating_points.items()
        },
        class_shares=clinic.class_shares,
        clinic_shares=prevalence.clinic_shares(labels, clinic.class_shares, settings.serve.prevalence),
        views=fit.count,
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
    selected = selection.select_phase(classifiers, labels, settings.seed)
    fitted = selection.calibrate(selected, settings)
    test, looks = scoring.score_on_test(classifiers, selected.phase, fitted.chosen, labels, model_input)
    left_out = leave_one_collection_out.leave_one_collection_out(
        *load_features(classifiers["frozen"]), params.bootstrap_resamples, settings.seed
    )
    views = measure_views(fitted, selected.logits, looks, test.after, plan)
    clinic = clinic_measurement.measure(fitted.chosen.scored, test.after, plan).model_copy(update={"views": views})
    triage = clinic.operating_points.get(TRIAGE)
    parts = Breakdown(left_out, measure_subgroups(test.after, triage.threshold if triage else None, settings))
    evaluation = measure(selected, fitted, test, parts, settings).model_copy(update=figures_for_gate(clinic, views))
    described = describe_candidate(evaluation, clinic, fitted.chosen, model_input, settings)
    write_candidate(classifiers[selected.phase], test.after, described)
    draw_plots(test, evaluation, clinic, model_input, settings)
    clinic.write(CLINIC)
    evaluation.write(EVALUATION)
    headline(evaluation, clinic).write(HEADLINE)
    print_summary(evaluation)
    print(views.text)
    if triage:
        print(f"triage: {triage.text}")


def figures_for_gate(clinic: Clinic, views: Views) -> dict[str, Estimate]:
    """The figures of reports/clinic.json that the gate judges, by their names in reports/evaluation.json."""
    triage = clinic.operating_points.get(TRIAGE)
    found = {"triage_sensitivity": triage.sensitivity} if triage else {}
    return {**found, "changed_diagnosis": views.worst_change.changed_diagnosis}


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
