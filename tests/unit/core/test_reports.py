"""Reports are read back as they were written, and older ones too; a wrong key is named."""

import json
from typing import Any

import pytest
from pydantic import BaseModel

from components.core.classes import CLASSES
from components.core.errors import LesionflowError
from components.core.files import read_json, write_json
from components.core.reports.document import Part
from components.core.reports.evaluation import Evaluation
from components.core.reports.export import ExportReport
from components.core.reports.measured import Measured
from components.core.reports.registration import Promotion, Registration, Rule
from tests.support import documents
from tests.support.project import ROOT

COMMITTED = {"evaluation.json": Evaluation, "export.json": ExportReport}
OLD_NAMES = {"critical_sensitivity": "melanoma_sensitivity", "critical_lift": "melanoma_lift"}
"""Names of schema version 1, by today's."""


def without_version(name: str) -> dict:
    """A committed report as versions of Lesionflow wrote it that had no format version."""
    return {key: value for key, value in read_json(ROOT / "reports" / name).items() if key != "schema_version"}


@pytest.mark.parametrize("name", COMMITTED)
def test_a_report_without_a_format_version_is_read_and_written_as_it_was_but_for_the_version(tmp_path, name):
    write_json(tmp_path / name, without_version(name))
    read = COMMITTED[name].read(tmp_path / name)
    assert read.schema_version == COMMITTED[name].current_version
    read.write(tmp_path / name)
    expected = json.dumps({**without_version(name), "schema_version": read.schema_version}, indent=2, sort_keys=True)
    assert (tmp_path / name).read_text(encoding="utf-8") == f"{expected}\n"
    assert COMMITTED[name].read(tmp_path / name) == read


@pytest.mark.parametrize(
    "report",
    [documents.evaluation(), documents.export_report(), documents.candidate(), documents.registration()],
    ids=lambda row: type(row).__name__,
)
def test_what_was_written_is_read_back(tmp_path, report):
    report.write(tmp_path / "report.json")
    assert type(report).read(tmp_path / "report.json") == report


def test_a_registration_with_rules_and_a_promotion_is_read_back(tmp_path):
    moved = Promotion("m", None, "1", "gate", "", "passed", "2026-01-01T00:00:00+00:00", "me", "0")
    report = documents.registration(gate=(Rule("c", True, "so"),), promotion=moved, overrides=("train.dropout=0.4",))
    report.write(tmp_path / "registration.json")
    assert Registration.read(tmp_path / "registration.json") == report
    assert read_json(tmp_path / "registration.json")["gate"] == [{"name": "c", "passed": True, "says": "so"}]


def with_old_names(part: Any) -> Any:
    """A report as version 1 of its format has it."""
    if not isinstance(part, dict):
        return part
    return {OLD_NAMES.get(name, name): 1 if name == "schema_version" else with_old_names(value) for name, value in part.items()}


@pytest.mark.parametrize(
    "report", [Evaluation.read(ROOT / "reports/evaluation.json"), documents.candidate()], ids=lambda row: type(row).__name__
)
def test_a_report_of_version_1_is_read_under_its_old_names_and_written_under_the_new(tmp_path, report):
    report.write(tmp_path / "new.json")
    write_json(tmp_path / "old.json", with_old_names(read_json(tmp_path / "new.json")))
    assert "melanoma_lift" in read_json(tmp_path / "old.json")
    read = type(report).read(tmp_path / "old.json")
    assert read == report
    assert read.schema_version == 2
    read.write(tmp_path / "old.json")
    assert (tmp_path / "old.json").read_bytes() == (tmp_path / "new.json").read_bytes()


def test_an_evaluation_of_before_shifts_collections_and_lift_is_read():
    later = ("shifts", "collections_left_out", "critical_lift", "few_groups")
    old = {key: value for key, value in without_version("evaluation.json").items() if key not in later}
    for row in old["per_class"].values():
        del row["recall_low"], row["recall_high"]
    read = Evaluation.parse(json.dumps(old).encode(), "old")
    assert (read.shifts, read.collections_left_out, read.critical_lift, read.few_groups) == ({}, None, 0.0, {})


def test_other_classes_and_keys_of_other_versions_are_read():
    held = without_version("evaluation.json")
    held["per_class"] = {"benign": held["per_class"]["nevus"], "malignant": held["per_class"]["melanoma"]}
    read = Evaluation.parse(json.dumps({**held, "invented": {"later": 1}}).encode(), "binary")
    assert list(read.per_class) == ["benign", "malignant"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda held: held["test"].pop("balanced_accuracy"), "test.balanced_accuracy: missing key"),
        (
            lambda held: held["test"]["macro_f1"].update(low="much"),
            "test.macro_f1.low: 'much' is not allowed: input should be a valid number",
        ),
        (lambda held: held["shifts"]["blur"].pop("drop"), "shifts.blur.drop: missing key"),
        (lambda held: held.update(schema_version=3), "schema_version: 3 is not allowed: input should be at most 2"),
    ],
    ids=["missing", "no number", "missing within a mapping", "later version"],
)
def test_a_wrong_key_is_named_with_its_file(tmp_path, change, message):
    held = without_version("evaluation.json")
    change(held)
    write_json(tmp_path / "evaluation.json", held)
    with pytest.raises(LesionflowError) as fault:
        Evaluation.read(tmp_path / "evaluation.json")
    assert str(fault.value).startswith(f"{tmp_path / 'evaluation.json'}: {message}")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"null"])
def test_a_file_that_is_not_a_json_object_is_named(content):
    with pytest.raises(LesionflowError, match=r"^evaluation\.json"):
        Evaluation.parse(content, "evaluation.json")


def test_a_report_that_does_not_exist_is_named_with_what_makes_it(tmp_path):
    with pytest.raises(LesionflowError, match="dvc repro"):
        Evaluation.read(tmp_path / "evaluation.json")


def fields(model: type[BaseModel]) -> set[str]:
    """The names of a model's fields and of those of its subclasses."""
    return set(model.model_fields).union(*(fields(child) for child in model.__subclasses__()))


def test_no_diagnosis_is_a_field():
    assert "per_class" in fields(Part)
    assert not fields(Part) & {*CLASSES, "benign", "malignant"}


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


def test_evidence_is_written_with_the_keys_that_older_versions_have(tmp_path):
    write_json(tmp_path / "old.json", MEASURED)
    Measured.read(tmp_path / "old.json").write(tmp_path / "new.json")
    assert (tmp_path / "new.json").read_bytes() == (tmp_path / "old.json").read_bytes()


def test_evidence_needs_only_the_keys_that_are_read():
    read = ("alone", "data_md5", "task", "test_split_hash")
    few = {**{key: MEASURED[key] for key in read}, "params": {"evaluate": {"calibration_bins": 10}}}
    assert Measured.parse(json.dumps(few).encode(), "few").params.evaluate.calibration_bins == 10
    with pytest.raises(LesionflowError, match=r"few: params\.evaluate\.calibration_bins: missing key"):
        Measured.parse(json.dumps({**few, "params": {"evaluate": {}}}).encode(), "few")
