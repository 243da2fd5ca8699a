"""Reports round-trip, older formats are still read, and errors name the invalid key."""

import json
from typing import Any

import pytest
from pydantic import BaseModel

from components.core.document import Part
from components.core.errors import LesionflowError
from components.core.files import read_json, write_json
from components.core.reports.evaluation import Evaluation
from components.core.reports.export import ExportReport
from components.core.reports.measured import Measured
from components.core.reports.registration import Promotion, Registration, Rule
from tests.support import documents
from tests.support.labels import CLASSES, ISIC9
from tests.support.project import ROOT

COMMITTED = {"evaluation.json": Evaluation, "export.json": ExportReport}
OLD_NAMES = {"critical_sensitivity": "melanoma_sensitivity", "critical_lift": "melanoma_lift"}
"""Maps each current name to its name in schema version 1."""


def without_version(name: str) -> dict:
    """A committed report as older versions of Lesionflow wrote it, without a schema version."""
    return {key: value for key, value in read_json(ROOT / "reports" / name).items() if key not in ("schema_version", "label_set")}


@pytest.mark.parametrize("name", COMMITTED)
def test_unversioned_report_is_read_and_rewritten_with_version(tmp_path, name):
    write_json(tmp_path / name, without_version(name))
    report = COMMITTED[name].read(tmp_path / name)
    assert report.schema_version == COMMITTED[name].current_version
    report.write(tmp_path / name)
    later = {"label_set": ISIC9.model_dump(mode="json")} if name == "evaluation.json" else {}
    expected = json.dumps({**without_version(name), **later, "schema_version": report.schema_version}, indent=2, sort_keys=True)
    assert (tmp_path / name).read_text(encoding="utf-8") == f"{expected}\n"
    assert COMMITTED[name].read(tmp_path / name) == report


@pytest.mark.parametrize(
    "report",
    [documents.evaluation(), documents.export_report(), documents.candidate(), documents.registration()],
    ids=lambda row: type(row).__name__,
)
def test_report_round_trip(tmp_path, report):
    report.write(tmp_path / "report.json")
    assert type(report).read(tmp_path / "report.json") == report


def test_registration_with_rules_and_promotion_round_trip(tmp_path):
    promotion = Promotion("m", None, "1", "gate", "", "passed", "2026-01-01T00:00:00+00:00", "me", "0")
    report = documents.registration(gate=(Rule("c", True, "so"),), promotion=promotion, overrides=("train.dropout=0.4",))
    report.write(tmp_path / "registration.json")
    assert Registration.read(tmp_path / "registration.json") == report
    assert read_json(tmp_path / "registration.json")["gate"] == [{"name": "c", "passed": True, "says": "so"}]


def with_old_names(document: Any) -> Any:
    """A report with the names of schema version 1."""
    if not isinstance(document, dict):
        return document
    return {OLD_NAMES.get(name, name): 1 if name == "schema_version" else with_old_names(value) for name, value in document.items()}


@pytest.mark.parametrize(
    "report", [Evaluation.read(ROOT / "reports/evaluation.json"), documents.candidate()], ids=lambda row: type(row).__name__
)
def test_version_1_report_is_read_and_rewritten_with_new_names(tmp_path, report):
    report.write(tmp_path / "new.json")
    write_json(tmp_path / "old.json", with_old_names(read_json(tmp_path / "new.json")))
    assert "melanoma_lift" in read_json(tmp_path / "old.json")
    old_report = type(report).read(tmp_path / "old.json")
    assert old_report == report
    assert old_report.schema_version == 3
    old_report.write(tmp_path / "old.json")
    assert (tmp_path / "old.json").read_bytes() == (tmp_path / "new.json").read_bytes()


def test_evaluation_without_later_fields_is_read():
    later_fields = ("shifts", "collections_left_out", "critical_lift", "few_groups", "subgroups")
    document = {key: value for key, value in without_version("evaluation.json").items() if key not in later_fields}
    for row in document["per_class"].values():
        del row["recall_low"], row["recall_high"]
    report = Evaluation.parse(json.dumps(document).encode(), "old")
    assert (report.shifts, report.collections_left_out, report.critical_lift, report.few_groups) == ({}, None, 0.0, {})
    assert report.subgroups == {}


def test_evaluation_accepts_other_classes_and_unknown_keys():
    document = without_version("evaluation.json")
    document["per_class"] = {"benign": document["per_class"]["nevus"], "malignant": document["per_class"]["melanoma"]}
    report = Evaluation.parse(json.dumps({**document, "invented": {"later": 1}}).encode(), "binary")
    assert list(report.per_class) == ["benign", "malignant"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda document: document["test"].pop("balanced_accuracy"), "test.balanced_accuracy: missing key"),
        (
            lambda document: document["test"]["macro_f1"].update(low="much"),
            "test.macro_f1.low: 'much' is not allowed: input should be a valid number",
        ),
        (lambda document: document["shifts"]["blur"].pop("drop"), "shifts.blur.drop: missing key"),
        (lambda document: document.update(schema_version=4), "schema_version: 4 is not allowed: input should be at most 3"),
    ],
    ids=["missing key", "not a number", "missing key in a mapping", "later version"],
)
def test_read_error_names_file_and_key(tmp_path, change, message):
    document = without_version("evaluation.json")
    change(document)
    write_json(tmp_path / "evaluation.json", document)
    with pytest.raises(LesionflowError) as error:
        Evaluation.read(tmp_path / "evaluation.json")
    assert str(error.value).startswith(f"{tmp_path / 'evaluation.json'}: {message}")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"null"])
def test_parse_rejects_content_that_is_not_a_json_object(content):
    with pytest.raises(LesionflowError, match=r"^evaluation\.json"):
        Evaluation.parse(content, "evaluation.json")


def test_read_error_names_command_that_creates_missing_report(tmp_path):
    with pytest.raises(LesionflowError, match="dvc repro"):
        Evaluation.read(tmp_path / "evaluation.json")


def fields(model: type[BaseModel]) -> set[str]:
    """Field names of a model and of all its subclasses."""
    return set(model.model_fields).union(*(fields(child) for child in model.__subclasses__()))


def test_report_models_have_no_field_per_diagnosis():
    assert "per_class" in fields(Part)
    assert not fields(Part) & {*CLASSES, "benign"}


MEASURED = {
    "alone": [{"name": "accuracy", "passed": True, "says": "0.9, at least 0.8 required"}],
    "catalog_sha256": "c",
    "code": {"core/files.py": "f"},
    "data_md5": "d",
    "git": {"commit": "g", "dirty": False},
    "model_sha256": "m",
    "overrides": ["train.dropout=0.4"],
    "packages": {"numpy": "2"},
    "params": {"evaluate": {"bootstrap": 100, "calibration_bins": 15}, "register": {"max_loss": 0.0, "model": "m"}, "seed": 7},
    "phase": "frozen",
    "phase_sha256": "p",
    "python": "3.12",
    "task": "multiclass",
    "test_split_hash": "t",
}


def test_evidence_keeps_keys_of_older_versions_and_names_label_set_in_place_of_task(tmp_path):
    write_json(tmp_path / "old.json", MEASURED)
    Measured.read(tmp_path / "old.json").write(tmp_path / "new.json")
    written = read_json(tmp_path / "new.json")
    assert written.pop("label_set") == ISIC9.model_dump(mode="json")
    assert written == {key: value for key, value in MEASURED.items() if key != "task"}


def test_evidence_requires_only_the_keys_in_use():
    keys_in_use = ("alone", "data_md5", "task", "test_split_hash")
    minimal = {**{key: MEASURED[key] for key in keys_in_use}, "params": {"evaluate": {"calibration_bins": 10}}}
    assert Measured.parse(json.dumps(minimal).encode(), "few").params.evaluate.calibration_bins == 10
    with pytest.raises(LesionflowError, match=r"few: params\.evaluate\.calibration_bins: missing key"):
        Measured.parse(json.dumps({**minimal, "params": {"evaluate": {}}}).encode(), "few")
