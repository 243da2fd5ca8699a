"""reports/report.html: everything about the last run on one page that needs no network and no other file."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from components.core.files import atomic_write, read_json, require_file
from components.core.paths import CLINIC, CURVES, EVALUATION, EVALUATION_PLOTS, EXPORT_REPORT, INDEX_REPORT, REPORTS, RUN_REPORT
from components.core.plotting import save_figure
from components.core.reports.clinic import Clinic
from components.core.reports.evaluation import Estimate, Evaluation
from components.core.reports.export import ExportReport
from components.core.reports.index import IndexReport
from components.core.reports.registration import Registration
from components.data_quality.pages import render

TEMPLATE = Path(__file__).with_name("run_report.html.jinja")
PLOTS = (
    ("Confusion on test", EVALUATION_PLOTS / "confusion.png"),
    ("For a clinic", EVALUATION_PLOTS / "clinic.png"),
    ("ROC curves", EVALUATION_PLOTS / "roc.png"),
    ("Calibration", EVALUATION_PLOTS / "reliability.png"),
    ("Simulated shifts", EVALUATION_PLOTS / "shifts.png"),
    ("One image under every shift", EVALUATION_PLOTS / "shifts_examples.png"),
    ("Subgroups", EVALUATION_PLOTS / "subgroups.png"),
    ("Mistakes with the highest probability", EVALUATION_PLOTS / "mistakes.png"),
)

CURVE_FILES = {"frozen base": "train.csv", "fine-tuning": "finetune.csv"}


@dataclass(frozen=True)
class Table:
    """A table of the page; its first column is text, the others are numbers."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True)
class Picture:
    """A picture of the page, as a data URL."""

    title: str
    url: str


def write_report(registration: Registration) -> None:
    """Write reports/report.html from the reports and plots of the last run.

    Raises:
        LesionflowError: a report or a plot is missing.
    """
    page = report_page(registration)
    with atomic_write(RUN_REPORT) as draft:
        draft.write_text(page, encoding="utf-8")


def report_page(registration: Registration) -> str:
    """HTML of the page."""
    evaluation, export = Evaluation.read(EVALUATION), ExportReport.read(EXPORT_REPORT)
    validation, split = (read_json(REPORTS / f"{name}.json") for name in ("validation", "split"))
    curves = [Picture(f"Training curves, {title}", draw_curves(CURVES / name)) for title, name in CURVE_FILES.items()]
    plots = [Picture(title, data_url(require_file(path).read_bytes())) for title, path in PLOTS]
    return render(
        TEMPLATE,
        registration=registration,
        evaluation=evaluation,
        tables=[
            *dataset_tables(validation, split),
            *evaluation_tables(evaluation),
            operating_points_table(Clinic.read(CLINIC)),
            non_lesions_table(IndexReport.read(INDEX_REPORT)),
            export_table(export),
        ],
        pictures=[*curves, *plots],
    )


def dataset_tables(validation: Mapping[str, Any], split: Mapping[str, Any]) -> list[Table]:
    """What validation found, and the images of each class in each split."""
    found = [
        (name.replace("_", " "), str(count), str(validation["quarantined"].get(name, 0))) for name, count in validation["found"].items()
    ]
    per_class: dict[str, dict[str, int]] = split["images_per_class"]
    sides = ("train", "validation", "test")
    counts = [(name.replace("_", " "), *(str(per_class[side][name]) for side in sides)) for name in per_class["train"]]
    return [
        Table("Findings of validation", ("finding", "files", "excluded"), found),
        Table("Images", ("class", *sides), counts),
    ]


def evaluation_tables(evaluation: Evaluation) -> list[Table]:
    """Test figures, the figures of each class, prediction sets and abstention."""
    label = evaluation.label_set.metric_label
    figures = [(label(name), *_cells(value)) for name, value in evaluation.test.figures.items()]
    classes = [
        (name.replace("_", " "), str(row.images), *(f"{value:.3f}" for value in (row.recall, row.precision, row.f1, row.specificity)))
        for name, row in evaluation.per_class.items()
    ]
    certainty = [
        (f"{what}: {name.replace('_', ' ')}", *_cells(value))
        for what, part in (("sets", evaluation.prediction_sets), ("abstention", evaluation.abstention))
        if part is not None
        for name, value in part.figures.items()
    ]
    bounds = ("figure", "value", "low", "high")
    return [
        Table("Test figures, with 95 % intervals", bounds, figures),
        Table("Each class on test", ("class", "images", "recall", "precision", "F1", "specificity"), classes),
        Table("Prediction sets and abstention on test", bounds, certainty),
    ]


def operating_points_table(clinic: Clinic) -> Table:
    """What each operating point does on test."""
    rows = [
        (name.replace("_", " "), f"{point.threshold:.3f}", f"{point.sensitivity:.3f}", f"{point.specificity:.3f}", f"{point.flagged:.3f}")
        for name, point in clinic.operating_points.items()
    ]
    return Table("Operating points on test", ("point", "threshold", "sensitivity", "specificity", "flagged"), rows)


def non_lesions_table(index: IndexReport) -> Table:
    """How many made pictures without a lesion are detected, by kind, and how many test images are taken for such."""
    made = [(name.replace("_", " "), *_cells(row.detected), str(row.answered)) for name, row in index.non_lesions.items()]
    lesions = ("test images, of lesions", *_cells(index.false_alarms.either), "")
    return Table("Detected as not dermoscopic, or as unlike training", ("pictures", "share", "low", "high", "answered"), [*made, lesions])


def export_table(export: ExportReport) -> Table:
    """Size, agreement and latency of the exports."""
    rows = [
        (name, f"{row.bytes / 1e6:.2f}", f"{row.same_top1:.3f}", f"{row.median_latency_ms:.1f}") for name, row in export.precisions.items()
    ]
    return Table("Exports", ("precision", "MB", "same class as Keras", "ms an image"), rows)


def _cells(value: Estimate) -> Iterable[str]:
    return (f"{number:.3f}" for number in (value.value, value.low, value.high))


def draw_curves(path: Path) -> str:
    """Loss and balanced accuracy by epoch of a phase's curves, as a data URL."""
    import matplotlib.pyplot as plt

    curves = pd.read_csv(require_file(path))
    figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
    for axis, name in zip(axes, ("loss", "balanced_accuracy"), strict=True):
        axis.plot(curves["epoch"] + 1, curves[name], label="training")
        axis.plot(curves["epoch"] + 1, curves[f"val_{name}"], label="validation")
        axis.set_xlabel("epoch")
        axis.set_title(name.replace("_", " "))
        axis.legend()
    content = io.BytesIO()
    save_figure(figure, content)
    return data_url(content.getvalue())


def data_url(png: bytes) -> str:
    """A PNG as a URL that contains it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
