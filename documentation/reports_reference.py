"""The page docs/reference/reports.md, from the keys of the committed reports."""

import json
from collections.abc import Iterator
from typing import Any

from components.core.catalog import COLUMNS, SIDES
from components.core.classes import CLASSES
from components.data_quality.findings import KINDS
from components.evaluation.shifts import SHIFTS
from documentation.markdown import table
from documentation.repository import GENERATED_NOTE, ROOT

REPORTS = ("validation", "split", "train", "finetune", "evaluation", "export")
INTERVAL = {"value", "low", "high"}
PLACEHOLDERS = {
    "<class>": set(CLASSES),
    "<shift>": set(SHIFTS),
    "<split>": set(SIDES),
    "<kind>": set(KINDS),
    "<phase>": {"frozen", "finetuned"},
    "<precision>": {"float16", "int8"},
    "<average>": {"macro", "weighted"},
}
WRITTEN_BY = {
    "validation": "validate",
    "split": "split",
    "train": "train",
    "finetune": "finetune",
    "evaluation": "evaluate",
    "export": "export",
}
METRICS = {
    "accuracy": "share of images whose class is predicted",
    "balanced_accuracy": "mean recall over the classes",
    "macro_f1": "mean F1 over the classes",
    "macro_auc": "mean one-vs-rest area under the ROC curve",
    "melanoma_sensitivity": "share of melanomas predicted as melanoma (binary task: as malignant)",
    "malignant_sensitivity": "share of malignant images whose malignant probabilities add up to at least one half",
    "malignant_specificity": "share of benign images whose malignant probabilities add up to less than one half",
    "precision": "share of the predictions of a class that are correct",
    "recall": "share of the images of a class that are predicted as it",
    "specificity": "share of the images of other classes that are not predicted as it",
    "f1": "harmonic mean of precision and recall",
    "calibration_error": "expected calibration error of the predicted class, after temperature scaling",
    "calibration_error_before": "the same before temperature scaling",
}
MEANING = {
    "validation": {
        "files": "files in `data/`, without metadata files",
        "usable": "files that later stages use",
        "lesions": "lesions among the usable files",
        "quarantined": "excluded files, by the kind of finding that excluded them",
        "found": "files that show each kind of finding",
        "found_per_class": "the same, by class; `none` for a file without a class",
        "images_per_class.<class>": "usable images of the class",
        "expectations_met": "whether the Great Expectations suites passed",
    },
    "split": {
        "test_split_hash": "sha256 that identifies the labelled test images",
        "groups": "groups (lesions joined by duplicates) that are never divided",
        "images.<split>": "images in the split",
        "images_per_class.<split>.<class>": "images of the class in the split",
        "lesions.<split>": "lesions in the split",
    },
    "train": {
        "epochs": "epochs that ran before early stopping",
        "views": "training views on which the head was fitted",
        "best": "the epoch whose weights were restored",
        "best.epoch": "number of that epoch, from 0",
        "best.learning_rate": "learning rate at its end",
        "best.loss": "training loss",
        "best.val_loss": "validation loss",
        "best.balanced_accuracy": "balanced accuracy on training views",
        "best.val_balanced_accuracy": "balanced accuracy on validation",
    },
    "finetune": {
        "epochs": "epochs that ran",
        "views": "training views of an epoch",
        "unfrozen_layers": "trainable layers of the base",
        "kept_maps": "bytes of cached feature maps; 0 if none were cached",
    },
    "evaluation": {
        "picked": "phase that became the candidate: `frozen` or `finetuned`, chosen on validation",
        "temperature": "divisor of the logits, fitted on validation",
        "melanoma_lift": "constant added to the melanoma logit (binary task: to the malignant logit), chosen on validation",
        "test_split_hash": "as in `reports/split.json`",
        "validation.<phase>": "metrics on validation, from which the phase is chosen",
        "test": "metrics of the candidate on test",
        "test.images": "test images",
        "test.groups": "lesion groups among them",
        "phases_on_test.<phase>": "metrics of both phases on test, before calibration",
        "finetuned_less_frozen_on_test.balanced_accuracy": "paired difference between the phases",
        "shifts.<shift>.balanced_accuracy": "balanced accuracy under the simulated shift",
        "shifts.<shift>.drop": "paired loss against the unchanged images",
        "collections_left_out": "for each collection: `images`, `classes`, `balanced_accuracy` of a linear head fitted without it, and its"
        " `drop` against a head fitted with it; empty if the training images have fewer than two collections",
        "averages.<average>": "precision, recall and F1 over classes (macro) or images (weighted)",
        "per_class.<class>": "metrics of one class",
        "per_class.<class>.images": "test images of the class",
        "per_class.<class>.recall_low": "lower bound of the recall's 95 % interval",
        "per_class.<class>.recall_high": "upper bound",
        "per_class.<class>.roc_auc": "one-vs-rest area under the ROC curve",
        "few_groups.<class>": "test groups of the class; only classes with fewer than 10",
    },
    "export": {
        "test_images": "images on which exports and Keras were compared",
        "<precision>.bytes": "size of `build/export/model_<precision>.tflite`",
        "<precision>.same_top1": "share of test images with the same prediction as Keras",
        "<precision>.largest_probability_difference": "over all test images and outputs",
        "<precision>.mean_probability_difference": "the same, on average",
        "<precision>.median_latency_ms": "one image on one thread, on the machine that ran the stage",
    },
}
OTHER_FILES = """\
| file | written by | content |
| --- | --- | --- |
| `reports/registration.json` | `register` | version, the gate's rules (`name`, `passed`, `says`), the promotion, the champion; not in git |
| `build/candidate/candidate.json` | `evaluate` | `outputs` (class names in output order), `image_size`, `resolution`, `task`, \
`temperature`, `melanoma_lift`, `backbone`, sha256 of model and phase |
| `build/candidate/test_predictions.parquet` | `evaluate` | one row per test image: path, pixel hash, diagnosis, group, `p_<class>` |
| `build/quarantine.csv` | `validate` | excluded files with `path`, `diagnosis`, `lesion_id` and `reason` |
| `build/findings.csv` | `validate` | every finding: `kind`, `number`, `rank`, `path`, `then`, `left_out`, `says`, `sha256`, `diagnosis` |
| `build/splits.parquet` | `split` | one row per usable image, with `side` (train, validation, test) and `group` |
| `reports/curves/*.csv` | `train`, `finetune` | one row per epoch |
| `reports/evaluation/` | `evaluate` | plots, and the tables behind them |
| `reports/augment/views.png` | `augment` | training views next to their originals |
| `reports/validation/`, `reports/split/` | `validate`, `split` | Great Expectations Data Docs; open `index.html` |"""


def page() -> str:
    """The page as Markdown."""
    parts = [
        "# Reports",
        GENERATED_NOTE,
        "JSON reports are in git, so `dvc metrics diff` compares commits. An *estimate* is an object with `value`, `low` and `high`:"
        " a metric and its 95 % interval. Words in angle brackets stand for one key of each kind.",
    ]
    for name in REPORTS:
        parts += [
            f"## {name}.json",
            f"`reports/{name}.json`, written by `{WRITTEN_BY[name]}`.",
            table(["key", "type", "meaning"], list(rows(name))),
        ]
    parts += [
        "## Other files",
        OTHER_FILES,
        "## catalog.parquet",
        "`build/catalog.parquet`, written by `validate`: one row per file.",
        table(["column", "meaning"], [[f"`{column}`", meaning] for column, meaning in COLUMNS.items()]),
        "Source: `components/validate.py`, `components/split.py`, `components/train.py`, `components/finetune.py`,"
        " `components/evaluate.py`, `components/export.py`, `components/register.py`, `components/core/catalog.py`",
    ]
    return "\n\n".join(parts) + "\n"


def rows(name: str) -> Iterator[list[str]]:
    """Key, type and meaning of everything that a committed report holds.

    Raises:
        KeyError: a key has no meaning here.
    """
    document = json.loads((ROOT / "reports" / f"{name}.json").read_text(encoding="utf-8"))
    seen: dict[str, str] = dict(_keys(document))
    for key, kind in seen.items():
        yield [f"`{key}`", kind, _meaning(name, key)]


def _keys(document: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in _generic(document).items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and value.keys() == INTERVAL:
            yield path, "estimate"
        elif isinstance(value, dict) and value:
            yield from _keys(value, f"{path}.")
        else:
            yield path, _kind(value)


def _generic(document: dict[str, Any]) -> dict[str, Any]:
    """The object with keys that are data, such as class names, replaced by one placeholder."""
    for placeholder, names in PLACEHOLDERS.items():
        members = [key for key in document if key in names]
        if members and len(members) == len([key for key in document if key != "test_images"]):
            rest = {key: value for key, value in document.items() if key not in names}
            merged: dict[str, Any] = {}
            values = [document[key] for key in members]
            for value in values:
                merged |= value if isinstance(value, dict) else {}
            return {placeholder: merged or values[0], **rest}
    return document


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return {int: "integer", float: "number", str: "text", dict: "object"}[type(value)]


def _meaning(report: str, key: str) -> str:
    known = {**(MEANING["train"] if report == "finetune" else {}), **MEANING[report]}
    if key in known:
        return known[key]
    parent, _, name = key.rpartition(".")
    if name in METRICS:
        return METRICS[name]
    if parent in known:
        return name.replace("_", " ")
    raise KeyError(f"{report}.json: {key} has no meaning in documentation/reports_reference.py")
