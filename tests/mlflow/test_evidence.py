"""Each version has its own evidence, which is written once and checked whenever it is read."""

import json

import numpy as np
import pandas as pd
import pytest

from app.models import verify
from components import register
from components.core.errors import LesionflowError
from components.core.files import read_json
from components.core.paths import REGISTRATION
from components.evaluation.predictions import Predictions
from components.registry import evidence, judgement, promotion, reevaluation, versions
from components.registry.evidence import EvidenceChanged, EvidenceLost
from components.runtime import params_file
from components.serving import logged_model
from tests.mlflow.conftest import MD5, MODEL


def run_register() -> dict:
    register.register(params_file.load())
    return read_json(REGISTRATION)


def rule(report: dict, name: str) -> dict:
    return next(row for row in report["gate"] if row["name"] == name)


def evidence_files(registry, version: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in registry.evidence_folder(version).iterdir()}


def load_evidence(registry, version: str) -> evidence.Evidence:
    entries = registry.champion_state().entries
    return evidence.load_evidence(registry.client, registry.get_version(version), promotion.evidence_of(entries, version))


def tamper_with(registry, version: str) -> None:
    path = registry.evidence_folder(version) / "test_predictions.parquet"
    table = pd.read_parquet(path)
    table[["p_nevus", "p_melanoma"]] = table[["p_melanoma", "p_nevus"]].to_numpy()
    table.to_parquet(path, index=False)


def test_second_candidate_is_compared_with_evidence_of_champion(registry):
    registry.write_candidate(registry.predictions_missing(0))
    first = run_register()
    assert (first["version"], first["new_version"], first["champion"]) == ("1", True, "1")
    before = evidence_files(registry, "1")
    registry.write_candidate(registry.predictions_missing(2))
    second = run_register()
    assert (second["version"], second["new_version"], second["champion"]) == ("2", True, "1")
    sensitivity_rule = rule(second, "melanoma sensitivity kept against the champion")
    assert not sensitivity_rule["passed"]
    assert sensitivity_rule["says"].startswith("melanoma sensitivity -0.500 ")
    assert evidence_files(registry, "1") == before
    assert [load_evidence(registry, version).evaluation.test.critical_sensitivity.value for version in ("1", "2")] == [1.0, 0.5]
    runs = [registry.client.get_run(registry.get_version(version).run_id) for version in ("1", "2")]
    assert runs[0].info.run_id != runs[1].info.run_id
    for run in runs:
        assert (run.info.status, run.data.tags["phase_run"]) == ("FINISHED", "none")
        assert [point.value for point in registry.client.get_metric_history(run.info.run_id, "val_loss")] == [1.1, 0.6]
        assert {item.path for item in registry.client.list_artifacts(run.info.run_id)} >= {"evaluation", "export", "reports", "data_docs"}


def test_evidence_records_settings_and_hash_is_in_tag_and_record(registry):
    registry.set_params("augment", rotation=90)
    registry.write_candidate(registry.predictions_missing(0), model_sha256="a model")
    report = run_register()
    digest = evidence.folder_sha256(registry.evidence_folder("1"))
    assert registry.get_version("1").tags[versions.EVIDENCE_TAG] == digest
    assert report["promotion"]["evidence"] == registry.champion_state().entries[0].evidence == digest
    measurement = json.loads(evidence_files(registry, "1")["measured.json"])
    params = params_file.load()
    assert measurement["params"] == {
        "seed": params.seed,
        "evaluate": params.evaluate.model_dump(mode="json"),
        "register": params.registration.model_dump(),
    }
    assert (measurement["model_sha256"], measurement["data_md5"], measurement["overrides"]) == ("a model", MD5, [])
    assert {"imaging/images.py", "evaluation/metrics.py"} <= set(measurement["code"])
    assert {"commit", "dirty"} == set(measurement["git"])
    assert {"pillow", "tensorflow"} <= set(measurement["packages"])
    split = pd.read_parquet(registry.evidence_folder("1") / "split.parquet")
    assert list(split.columns) == ["pixels_sha256", "side", "group", "diagnosis", "path"]


def test_commands_refuse_tampered_evidence_before_writing(registry, run_cli):
    for _ in range(2):
        registry.register_version()
    for number in ("1", "2"):
        registry.move_champion(number)
    tamper_with(registry, "1")
    for command in (("rollback",), ("promote", "1"), ("verify", "1")):
        result = run_cli("champion", *command)
        assert result.exit_code == 1
        assert "the evidence of skin-lesion-mobilenetv2 version 1 was changed after it was registered" in result.stderr, command
        assert "Restore its artifacts" in result.stderr
    assert registry.champion() == "2"
    tamper_with(registry, "2")
    registry.write_candidate(registry.predictions_missing(0))
    with pytest.raises(EvidenceChanged, match="version 2 was changed"):
        run_register()
    assert len(registry.client.search_model_versions(f"name = '{MODEL}'")) == 2
    assert "Lesionflow" not in run_cli("champion", "promote", "1", "--override", "a backup says it is sound").stderr
    assert registry.champion() == "1"


def test_promotion_record_detects_tampering_when_tag_was_changed_too(registry):
    registry.register_version()
    registry.move_champion("1")
    tamper_with(registry, "1")
    registry.client.set_model_version_tag(MODEL, "1", versions.EVIDENCE_TAG, evidence.folder_sha256(registry.evidence_folder("1")))
    with pytest.raises(EvidenceChanged, match="the promotion record says sha256"):
        load_evidence(registry, "1")
    registry.client.delete_model_version_tag(MODEL, "1", versions.EVIDENCE_TAG)
    with pytest.raises(EvidenceChanged, match="its tag is gone"):
        load_evidence(registry, "1")


def test_removed_evidence_tag_does_not_fall_back_to_run(registry):
    registry.write_candidate(registry.predictions_missing(4))  # fails the gate, so the promotion record does not name it
    assert run_register()["champion"] is None
    registry.client.delete_model_version_tag(MODEL, "1", versions.EVIDENCE_TAG)
    with pytest.raises(EvidenceLost, match=r"gives no evaluation/test_predictions\.parquet"):
        load_evidence(registry, "1")


def test_legacy_version_is_read_from_run_with_matching_bins(registry):
    number = registry.register_legacy_version(predictions_of_varied_confidence(registry, 1))
    legacy_evidence = load_evidence(registry, number)
    assert (legacy_evidence.test_split_hash, legacy_evidence.data_md5) == ("split a", MD5)
    assert (legacy_evidence.bins, legacy_evidence.passed_alone) == (15, None)
    registry.move_champion(number)
    assert registry.champion_state().entries[0].evidence is None
    registry.write_candidate(predictions_of_varied_confidence(registry, 1))
    assert rule(run_register(), "melanoma sensitivity kept against the champion")["says"].startswith("melanoma sensitivity +0.000")


def test_legacy_versions_sharing_a_run_are_reevaluated(registry, run_cli, monkeypatch):
    first = registry.register_legacy_version(registry.predictions_missing(0))
    run = registry.get_version(first).run_id
    second = registry.register_legacy_version(registry.predictions_missing(2), run)
    registry.move_champion(first)
    for number, other in ((first, second), (second, first)):
        with pytest.raises(EvidenceLost, match=f"shares its MLflow run {run} with version {other}"):
            load_evidence(registry, number)
    refusal = run_cli("champion", "promote", second)
    assert refusal.exit_code == 1
    assert "`dvc repro --force --single-item register`" in refusal.stderr
    monkeypatch.setattr(reevaluation, "reevaluate", lambda *_: registry.predictions_missing(0))
    registry.write_candidate(registry.predictions_missing(2))
    report = run_register()
    explanation = rule(report, "melanoma sensitivity kept against the champion")["says"]
    assert explanation.startswith("melanoma sensitivity -0.500")
    assert "measured again" in explanation
    registry.client.delete_model_version(MODEL, second)
    with pytest.raises(EvidenceLost, match="a version that was deleted since wrote over it"):
        load_evidence(registry, first)


def test_candidate_evaluated_on_another_split_is_new_version(registry):
    registry.write_candidate(registry.predictions_missing(0), model_sha256="a model")
    assert run_register()["champion"] == "1"
    assert run_register()["new_version"] is False
    before = evidence_files(registry, "1")
    registry.register_version()
    registry.move_champion("2")
    registry.write_candidate(registry.predictions_missing(0), model_sha256="a model", split="split b")
    report = run_register_with_fixed_reevaluation(registry)
    assert (report["version"], report["new_version"], report["was_champion"], report["champion"]) == ("3", True, True, "2")
    assert evidence_files(registry, "1") == before
    assert load_evidence(registry, "3").test_split_hash == "split b"


def run_register_with_fixed_reevaluation(registry) -> dict:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reevaluation, "reevaluate", lambda *_: registry.predictions_missing(0))
        return run_register()


def test_gate_compares_with_best_version_that_meets_floors(registry):
    registry.set_params("register", promotion="manual", max_drop=0.6)
    registry.write_candidate(registry.predictions_missing(0))
    run_register()  # never champion
    registry.move_champion(registry.register_version(wrong=1))
    registry.write_candidate(all_melanoma(registry))
    assert rule(run_register(), "balanced accuracy floor")["passed"] is False
    registry.write_candidate(registry.predictions_missing(3))
    report = run_register()
    comparison_rules = {row["name"]: row for row in report["gate"] if "kept against" in row["name"]}
    assert "version 2" in comparison_rules["melanoma sensitivity kept against the champion"]["says"]
    best_rule = comparison_rules["melanoma sensitivity kept against the best"]
    assert "-0.750" in best_rule["says"]
    assert "version 1" in best_rule["says"]
    assert best_rule["passed"] is False
    assert comparison_rules["balanced accuracy kept against the best"]["passed"] is True


def all_melanoma(registry) -> Predictions:
    correct = registry.predictions(0)
    class_index = int(np.flatnonzero(correct.probabilities[correct.critical][0] > 0.5)[0])
    return Predictions(correct.images, np.tile(np.eye(9)[class_index] * 0.91 + 0.01, (len(correct.images), 1)), correct.labels)


@pytest.mark.parametrize(
    ("overrides", "manual_overrides"),
    [(["train.dropout=0.4", "+finetune.epochs=3"], []), (["train.dropout=0.4", "register.min_balanced_accuracy=0"], [1])],
)
def test_overrides_beyond_training_make_promotion_manual(registry, capsys, overrides, manual_overrides):
    registry.set_params("register", promotion="automatic")
    registry.set_top_level_params(overrides=overrides)
    registry.write_candidate(registry.predictions_missing(0))
    report = run_register()
    assert report["gate_passed"]
    assert report["overrides_beyond_training"] == [overrides[index] for index in manual_overrides]
    assert (report["promote"], report["champion"]) == (("manual", None) if manual_overrides else ("automatic", "1"))
    assert json.loads(evidence_files(registry, "1")["measured.json"])["overrides"] == overrides
    assert registry.get_version("1").tags["overrides"] == registry.get_version("1").tags["judged.overrides"] == ", ".join(overrides)
    output = capsys.readouterr().out
    assert ("because this run overrides register.min_balanced_accuracy=0" in output) == bool(manual_overrides)


def predictions_of_varied_confidence(registry, wrong: int) -> Predictions:
    """Predictions whose calibration error depends on the number of bins."""
    predictions = registry.predictions(wrong)
    probabilities = predictions.probabilities ** np.random.default_rng(0).uniform(0.4, 1.5, (len(predictions.images), 1))
    return Predictions(predictions.images, probabilities / probabilities.sum(axis=1, keepdims=True), predictions.labels)


def test_verify_uses_calibration_bins_of_version(registry, monkeypatch):
    registry.set_params("register", max_calibration_error=1.0)
    predictions = predictions_of_varied_confidence(registry, 1)
    monkeypatch.setattr(reevaluation, "reevaluate", lambda *_: predictions)
    registry.write_candidate(predictions)
    assert run_register()["champion"] == "1"
    registry.set_params("evaluate", calibration_bins=2)
    assert predictions.headline("calibration_error", np.arange(36), 2) != pytest.approx(
        predictions.headline("calibration_error", np.arange(36), 15)
    )
    report = verify.verify_version()
    assert verify.is_reproduced(report)


def test_failed_registration_marks_run_failed_and_adds_no_version(registry, monkeypatch):
    def fail(*_):
        raise LesionflowError("MLflow rejected the model")

    monkeypatch.setattr(logged_model, "log_model", fail)
    registry.write_candidate(registry.predictions_missing(0))
    with pytest.raises(LesionflowError, match="rejected the model"):
        run_register()
    runs = registry.client.search_runs([registry.client.get_experiment_by_name("skin-lesions").experiment_id])
    assert [run.info.status for run in runs] == ["FAILED"]
    assert registry.client.search_model_versions(f"name = '{MODEL}'") == []


def test_gate_ignores_metric_tags_edited_in_ui(registry):
    registry.register_version()
    registry.move_champion(registry.register_version(wrong=1))
    for name in ("test.balanced_accuracy", "test.critical_sensitivity"):
        registry.client.set_model_version_tag(MODEL, "1", name, "0.1000 [0.1000, 0.1000]")
    registry.register_version(wrong=1)
    rules = judgement.judge_version(registry.client, load_evidence(registry, "3"), "3", registry.champion_state(), params_file.load())
    assert "balanced accuracy kept against the best" in [rule.name for rule in rules if not rule.passed]
