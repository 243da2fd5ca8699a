"""The page docs/reference/reports.md, from the models of reports and, where there is none, from the keys of the committed ones."""

import json
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from components.core.catalog import SPLIT_NAMES
from components.core.document import JsonFile
from components.core.former_formats import MULTICLASS
from components.core.reports.candidate import Candidate
from components.core.reports.clinic import Clinic
from components.core.reports.cross_validation import CrossValidation
from components.core.reports.evaluation import Evaluation
from components.core.reports.export import ExportReport
from components.core.reports.headline import Headline
from components.core.reports.index import IndexReport
from components.core.reports.registration import Registration
from components.core.reports.tuning import TuningReport
from components.data_quality.findings import KINDS
from components.phone.contract import CONTRACT, PhoneContract
from documentation import schema_rows
from documentation.markdown import source, table
from documentation.repository import GENERATED_NOTE, ROOT

WRITTEN_BY = {"validation": "validate", "split": "split", "train": "train", "finetune": "finetune"}
"""Reports whose keys are read from the committed file, and their stages."""
MODELS: tuple[tuple[str, str, type[JsonFile]], ...] = (
    ("reports/evaluation.json", "evaluate", Evaluation),
    ("reports/clinic.json", "evaluate", Clinic),
    ("reports/metrics.json", "evaluate", Headline),
    ("reports/cross_validation.json", "lesionflow cv", CrossValidation),
    ("reports/tuning.json", "lesionflow tune", TuningReport),
    ("reports/export.json", "export", ExportReport),
    ("reports/index.json", "index", IndexReport),
    ("build/candidate/candidate.json", "evaluate", Candidate),
    ("reports/registration.json", "register", Registration),
    (CONTRACT, "lesionflow export", PhoneContract),
)
"""Path, stage or command, and model of the others."""
SOURCES = (
    *(f"components/{stage}.py" for stage in ("validate", "split", "train", "finetune", "evaluate", "export", "index", "register")),
    "components/core/reports/",
    "components/phone/contract.py",
)
PLACEHOLDERS = {
    "<class>": set(MULTICLASS.outputs),
    "<split>": set(SPLIT_NAMES),
    "<kind>": set(KINDS),
}
MEANING = {
    "validation": {
        "files": "files in `data/`, without metadata files",
        "usable": "files that later stages use",
        "label_set": "name of the label set",
        "lesions": "lesions among the usable files",
        "missing_classes": "classes of the label set without a file; they are not outputs of the model",
        "not_in_label_set": "files of each diagnosis that has no class in the label set",
        "patients": "patients among the usable files; 0 if the source does not name them",
        "quarantined": "excluded files, by the kind of finding that excluded them",
        "found": "files that show each kind of finding",
        "found_per_class": "the same, by class; `none` for a file without a class",
        "images_per_class.<class>": "usable images of the class",
        "expectations_met": "whether the Great Expectations suites passed",
    },
    "split": {
        "test_split_hash": "sha256 that identifies the labeled test images",
        "groups": "groups (patients, or lesions joined by duplicates) that are never divided",
        "kept_groups": "groups that stayed in the split that `splits/assignments.csv` named",
        "dealt_groups": "groups that were assigned by this run: all of them in a new dataset or with `split.redeal: true`",
        "joined_groups": "groups that joined images of several splits; they are in train",
        "images.<split>": "images in the split",
        "images_per_class.<split>.<class>": "images of the class in the split",
        "lesions.<split>": "lesions in the split",
        "patients.<split>": "patients in the split; 0 if the source does not name them",
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
}
OTHER_FILES = [
    ["`reports/curves/*.csv`", "`train`, `finetune`", "one row per epoch"],
    ["`reports/evaluation/`", "`evaluate`", "plots, and the tables behind them"],
    ["`reports/augment/views.png`", "`augment`", "training views next to their originals"],
    ["`reports/validation/`, `reports/split/`", "`validate`, `split`", "Great Expectations Data Docs; open `index.html`"],
]
"""File, stage and content."""


def page() -> str:
    """The page as Markdown."""
    parts = [
        "# Reports",
        GENERATED_NOTE,
        "What each report contains."
        " JSON reports, except `registration.json`, `candidate.json` and a phone's `lesionflow.json`, are in git, so `dvc metrics diff`"
        " compares commits; `dvc metrics diff reports/metrics.json` compares the few headline figures alone. An *estimate* is an object"
        " with `value`, `low` and `high`: a metric and its 95 % interval. Words in angle brackets stand for one key of each kind, `[]`"
        " for each item of a list.",
    ]
    for name in WRITTEN_BY:
        parts += [
            f"## {name}.json",
            f"`reports/{name}.json`, written by `{WRITTEN_BY[name]}`.",
            table(["key", "type", "meaning"], list(rows(name))),
        ]
    for path, stage, model in MODELS:
        parts += [
            f"## {PurePath(path).name}",
            f"`{path}`, written by `{stage}`.",
            table(["key", "type", "meaning"], schema_rows.rows(model)),
        ]
    parts += [
        "## Other files",
        table(["file", "written by", "content"], OTHER_FILES),
        "The files in `build/` are described in [stored files](stored-files.md).",
        source(*SOURCES),
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
        if isinstance(value, dict) and value:
            yield from _keys(value, f"{path}.")
        else:
            yield path, _kind(value)


def _generic(document: dict[str, Any]) -> dict[str, Any]:
    """The object with keys that are data, such as class names, replaced by one placeholder."""
    for placeholder, names in PLACEHOLDERS.items():
        if document and document.keys() <= names:
            merged: dict[str, Any] = {}
            for value in document.values():
                merged |= value if isinstance(value, dict) else {}
            return {placeholder: merged or next(iter(document.values()))}
    return document


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return {int: "integer", float: "number", str: "text", list: "list", dict: "object"}[type(value)]


def _meaning(report: str, key: str) -> str:
    known = {**(MEANING["train"] if report == "finetune" else {}), **MEANING[report]}
    if key in known:
        return known[key]
    parent, _, name = key.rpartition(".")
    if parent in known:
        return name.replace("_", " ")
    raise KeyError(f"{report}.json: {key} has no meaning in documentation/reports_reference.py")
