"""Everything that a model card is made from, with and without what a dataset may lack."""

from functools import cache
from typing import Any

import pandas as pd

from components.core.catalog import COLUMNS
from components.core.label_set import LabelSet
from components.core.reports.clinic import Clinic, Repeatability, ViewCount, Views
from components.core.reports.cohort import Cohort, Source
from components.core.reports.evaluation import Abstention, ClassMetrics, Estimate, Evaluation, PredictionSets
from components.core.reports.measured import EvaluationParams, GitState, Measured, MeasuredParams
from components.core.reports.statements import Statements
from components.evaluation.clinic.measurement import measure
from components.registry.background import Background
from components.registry.card.sources import Sources
from components.registry.cohort import count_cohort
from components.runtime.params_file import load
from tests.support import documents
from tests.support.clinic import calibrated_predictions, plan
from tests.support.labels import ISIC9
from tests.support.project import ROOT

RATE = Estimate(0.7, 0.6, 0.8)


def catalog(labels: LabelSet = ISIC9, collections: tuple[str | None, ...] = ("a", "b"), **columns: Any) -> pd.DataFrame:
    """A catalog with ten usable images of each class and one file that cannot be read; other columns as given."""
    rows = [(f"{name}/{number}.png", name, f"{name} {number}", f"{name} {number}") for name in labels.outputs for number in range(10)]
    frame = pd.DataFrame(rows, columns=["path", "diagnosis", "lesion_id", "group"])
    frame["collection"] = [collections[number % len(collections)] for number in range(len(frame))]
    frame = frame.assign(format="PNG", usable=True, reason="", width=200, height=150, **columns)
    unreadable = pd.DataFrame({"path": ["broken.png"], "usable": [False], "reason": ["unreadable: truncated"], "width": [0], "height": [0]})
    return pd.concat([frame, unreadable], ignore_index=True).reindex(columns=list(COLUMNS))


def cohort(files: pd.DataFrame, confirmation: dict[str, str] | None = None, **others: Any) -> Cohort:
    """The counts of a catalog, whose usable images are split in turn."""
    usable = files[files["usable"].astype(bool)]
    splits = usable.assign(side=[("train", "validation", "test")[number % 3] for number in range(len(usable))])
    defaults = {"attribution": None, "missing_classes": [], "sources": None}
    confirmed = files.assign(diagnosis_confirm_type=files["path"].map(pd.Series(confirmation or {}, dtype="str")))
    return count_cohort(confirmed, splits, {**defaults, **others})


def evaluation(labels: LabelSet = ISIC9, **values: Any) -> Evaluation:
    """A report with figures by class, prediction sets and abstention; those that a label set cannot have are missing."""
    malignant = RATE if labels.separates_malignant else None
    critical = RATE if labels.critical else None
    missing = {"malignant_sensitivity": malignant, "malignant_specificity": malignant, "critical_sensitivity": critical}
    metrics = {"f1": 0.7, "precision": 0.7, "recall": 0.7, "specificity": 0.9, "images": 30}
    sets = PredictionSets(
        benign_without_malignant=malignant,
        coverage=RATE,
        coverage_by_class=dict.fromkeys(labels.outputs, RATE),
        critical_coverage=critical,
        malignant_without_malignant=malignant,
        pooled=(),
        size=RATE,
        target=0.9,
        thresholds={},
    )
    defaults = {
        "label_set": labels,
        "test": documents.metrics_on_test(**missing),
        "per_class": dict.fromkeys(labels.outputs, ClassMetrics(**metrics)),
        "prediction_sets": sets,
        "abstention": Abstention(
            accuracy_abstained=RATE, accuracy_answered=RATE, by_class=dict.fromkeys(labels.outputs, 1), share=RATE, threshold=0.4
        ),
        "shifts": {"blur": documents.shift_result(0.6, 0.1, 0.0, 0.2)},
        "collections_left_out": {},
        "subgroups": {"sex": {"female": documents.subgroup(0.5), "male": documents.subgroup(0.7)}},
    }
    return documents.evaluation(**{**defaults, **values})


def measured(labels: LabelSet = ISIC9, **values: Any) -> Measured:
    """What the evidence depends on."""
    defaults = {
        "alone": (),
        "data_md5": "0123.dir",
        "git": GitState(commit="abc", dirty=False),
        "label_set": labels,
        "packages": {"keras": "3"},
        "params": MeasuredParams(seed=1, evaluate=EvaluationParams(calibration_bins=15), register={"registered_model": "m"}),
        "python": "3.11",
        "test_split_hash": "split a",
    }
    return Measured(**{**defaults, **values})


def sources(labels: LabelSet = ISIC9, background: Background | None = None, **values: Any) -> Sources:
    """Full evidence of a version with these outputs; an empty `background` is that of an older version."""
    candidate = documents.candidate(label_set=labels, outputs=labels.outputs)
    found = {"candidate": candidate, "measured": measured(labels), "evaluation": evaluation(labels), "export": documents.export_report()}
    return Sources(**{**found, "background": background or full_background(labels), **values})


@cache
def figures(labels: LabelSet) -> Clinic:
    """Figures for a clinic of a model with these outputs."""
    validation, test = (calibrated_predictions(100, labels, seed=seed) for seed in (1, 2))
    return measure(validation, test, plan(labels, utilities=None)).model_copy(update={"views": views(labels)})


def views(labels: LabelSet) -> Views:
    """Two views, and how repeatable answers are with them."""
    malignant = RATE if labels.separates_malignant else None
    repeatability = Repeatability(changed_diagnosis=RATE, crosses_triage=malignant, limit_of_agreement=malignant)
    count = ViewCount(
        balanced_accuracy=0.7,
        calibration_error=0.1,
        changed_diagnosis=0.2,
        forward_passes=2,
        loss_above_eight_views=RATE,
        negative_log_likelihood=1.0,
        repeatability={"symmetries": repeatability, "jpeg_95": repeatability},
        temperature=1.0,
    )
    return Views(by_count={"2": count}, count=2)


def full_background(labels: LabelSet = ISIC9, **values: Any) -> Background:
    """Figures for a clinic, counts of a dataset with metadata, params and statements."""
    files = catalog(labels, age_approx=50.0, sex="female", anatom_site_general="back", license="CC-0", patient_id="p")
    defaults = {
        "clinic": figures(labels),
        "cohort": cohort(
            files,
            dict.fromkeys(files["path"], "histopathology"),
            sources=[Source(source="clinic a", image_type="dermoscopic", form="folders")],
        ),
        "index": documents.index_report(),
        "params": load(ROOT / "params.yaml").model_dump(mode="json", by_alias=True),
        "statements": Statements(intended_use="research", contact="me@example.org"),
    }
    return Background(**{**defaults, **values})
