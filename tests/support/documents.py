"""Factories of complete reports with plausible default values; a test passes the values that matter to it."""

from typing import Any, get_args

from components.core.reports.candidate import Base, Candidate
from components.core.reports.champion import Verification, VersionOverview
from components.core.reports.clinic import Clinic, Discrimination, OperatingPoint, Repeatability, ViewCount, Views
from components.core.reports.evaluation import (
    Estimate,
    Evaluation,
    PhaseDifference,
    ShiftResult,
    SubgroupResult,
    TestMetrics,
    ValidationMetrics,
)
from components.core.reports.export import ExportedModel, ExportReport
from components.core.reports.registration import Registration
from tests.support.labels import CLASSES, ISIC9


def metrics_on_test(images: int = 40, groups: int = 30, **estimates: Estimate | None) -> TestMetrics:
    """Test metrics; the default of each is 0.7 [0.6, 0.8]."""
    names = [name for name in TestMetrics.model_fields if name not in ("images", "groups")]
    return TestMetrics(images=images, groups=groups, **{**dict.fromkeys(names, Estimate(0.7, 0.6, 0.8)), **estimates})


def evaluation(**values: Any) -> Evaluation:
    """An evaluation report; by default without shifts and collections, as in older reports."""
    phase = {"accuracy": 0.5, "balanced_accuracy": 0.5, "calibration_error": 0.1, "macro_f1": 0.5}
    defaults = {
        "averages": {},
        "finetuned_less_frozen_on_test": PhaseDifference(balanced_accuracy=Estimate(0.0, -0.1, 0.1)),
        "label_set": ISIC9,
        "per_class": {},
        "phases_on_test": {},
        "picked": "frozen",
        "temperature": 1.0,
        "test": metrics_on_test(),
        "test_split_hash": "split a",
        "triage_sensitivity": Estimate(0.9, 0.8, 0.95),
        "validation": {"frozen": ValidationMetrics(**phase)},
    }
    return Evaluation(**{**defaults, **values})


def clinic(triage: bool = True) -> Clinic:
    """A report of figures for a clinic, of which only the operating point for triage has any."""
    rate = Estimate(0.9, 0.8, 0.95)
    point = OperatingPoint(
        at_prevalence={},
        false_negatives=1,
        false_positives=6,
        flagged=Estimate(0.6, 0.5, 0.7),
        sensitivity=rate,
        sensitivity_by_class={"basal_cell_carcinoma": rate, "melanoma": Estimate(1.0, 0.7, 1.0)},
        specificity=Estimate(0.4, 0.3, 0.5),
        threshold=0.1234,
        true_negatives=4,
        true_positives=9,
    )
    return Clinic(
        calibration={},
        class_shares={},
        coverage=[],
        discrimination=Discrimination(),
        groups=30,
        images=40,
        label_set=ISIC9,
        operating_points={"triage": point} if triage else {},
        test_split_hash="split a",
    )


def views(count: int = 8, changed: float = 0.02) -> Views:
    """What averaging over views gives; moving the image changes this share of diagnoses, everything else none."""
    none, some = Repeatability(changed_diagnosis=Estimate(0.0, 0.0, 0.1)), Repeatability(changed_diagnosis=Estimate(changed, 0.0, 0.1))
    row = ViewCount(
        balanced_accuracy=0.7,
        calibration_error=0.05,
        changed_diagnosis=0.0,
        forward_passes=count,
        loss_above_eight_views=Estimate(0.0, 0.0, 0.0),
        negative_log_likelihood=0.9,
        repeatability={"jpeg_95": none, "shift_1_px": some, "symmetries": none},
        temperature=1.0,
    )
    return Views(by_count={str(count): row}, count=count)


def shift_result(balanced_accuracy: float, value: float, low: float, high: float) -> ShiftResult:
    return ShiftResult(balanced_accuracy=balanced_accuracy, drop=Estimate(value, low, high))


def subgroup(balanced_accuracy: float | None = None) -> SubgroupResult:
    """A subgroup with this balanced accuracy, 0.1 below and above; without one, it has too few groups."""
    if balanced_accuracy is None:
        return SubgroupResult(images=9, groups=8)
    return SubgroupResult(
        images=90, groups=80, balanced_accuracy=Estimate(balanced_accuracy, balanced_accuracy - 0.1, balanced_accuracy + 0.1)
    )


def export_report(float16: float = 1.0, int8: float = 1.0, float32: float = 1.0) -> ExportReport:
    """A report of exports that agree with the Keras model on these fractions of the test images."""
    rows = {"float32": float32, "float16": float16, "int8": int8}
    return ExportReport(**{precision: exported_model(precision, share) for precision, share in rows.items()}, test_images=40)


def exported_model(precision: str, same_top1: float) -> ExportedModel:
    """An export that agrees with the Keras model on this fraction of the test images; below 0.95 its file is not written."""
    values = {"bytes": 1, "largest_probability_difference": 0.0, "mean_probability_difference": 0.0, "median_latency_ms": 1.0}
    refused = {"reason": f"{precision} TFLite is not written: only {same_top1:.3f} of test images"} if same_top1 < 0.95 else {}
    return ExportedModel(same_top1=same_top1, written=not refused, **values, **refused)


def candidate(**values: Any) -> Candidate:
    """A candidate of the frozen phase with nine classes."""
    defaults = {
        "backbone": Base(alpha=0.35, architecture="MobileNetV2", image_size=24, weights="imagenet"),
        "image_size": 24,
        "critical_lift": 0.0,
        "label_set": ISIC9,
        "model_sha256": "model a",
        "outputs": CLASSES,
        "phase": "frozen",
        "phase_sha256": "phase a",
        "resolution": None,
        "temperature": 1.0,
        "test_split_hash": "split a",
    }
    return Candidate(**{**defaults, **values})


def version_overview(**values: Any) -> VersionOverview:
    """An overview of version 1 in which other values are unknown."""
    unknown = {name: None for name, field in VersionOverview.model_fields.items() if type(None) in get_args(field.annotation)}
    return VersionOverview(**{**unknown, "version": "1", "gate": "never judged", "rules": [], "figures": {}, **values})


def verification(**values: Any) -> Verification:
    """A verification of version 1 in which nothing changed."""
    same = {"figures": {}, "moved": [], "unsupported": [], "changed_diagnoses": 0, "largest_change": 0.0}
    return Verification(**{**same, "model": "m", "version": "1", "data_md5": "abc.dir", "images": 1, **values})


def registration(**values: Any) -> Registration:
    """A registration of version 1, which passed the gate and is champion."""
    defaults = {
        "champion": "1",
        "gate": (),
        "gate_passed": True,
        "mlflow_run": "1",
        "model": "m",
        "new_version": True,
        "promote": "automatic",
        "version": "1",
    }
    return Registration(**{**defaults, **values})
