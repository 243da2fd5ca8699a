"""Evidence of versions: written once, each version's its own, checked by whoever reads it."""

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


def registered() -> dict:
    register.register(params_file.load())
    return read_json(REGISTRATION)


def rule(report: dict, name: str) -> dict:
    return next(row for row in report["gate"] if row["name"] == name)


def stored(lab, version: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in lab.evidence_folder(version).iterdir()}


def read(lab, version: str) -> evidence.Evidence:
    return evidence.load_evidence(lab.client, lab.get(version), promotion.evidence_of(lab.look().entries, version))


def tamper(lab, version: str) -> None:
    path = lab.evidence_folder(version) / "test_predictions.parquet"
    table = pd.read_parquet(path)
    table[["p_nevus", "p_melanoma"]] = table[["p_melanoma", "p_nevus"]].to_numpy()
    table.to_parquet(path, index=False)


def test_a_second_candidate_of_one_phase_model_is_held_against_the_champions_own_evidence(lab):
    lab.candidate(lab.missing(0))
    first = registered()
    assert (first["version"], first["new_version"], first["champion"]) == ("1", True, "1")
    before = stored(lab, "1")
    lab.candidate(lab.missing(2))
    second = registered()
    assert (second["version"], second["new_version"], second["champion"]) == ("2", True, "1")
    kept = rule(second, "melanoma sensitivity kept against the champion")
    assert not kept["passed"]
    assert kept["says"].startswith("melanoma sensitivity -0.500 ")
    assert stored(lab, "1") == before
    assert [read(lab, version).evaluation.test.critical_sensitivity.value for version in ("1", "2")] == [1.0, 0.5]
    runs = [lab.client.get_run(lab.get(version).run_id) for version in ("1", "2")]
    assert runs[0].info.run_id != runs[1].info.run_id
    for run in runs:
        assert (run.info.status, run.data.tags["phase_run"]) == ("FINISHED", "none")
        assert [point.value for point in lab.client.get_metric_history(run.info.run_id, "val_loss")] == [1.1, 0.6]
        assert {item.path for item in lab.client.list_artifacts(run.info.run_id)} >= {"evaluation", "export", "reports", "data_docs"}


def test_evidence_holds_what_a_version_was_measured_by_and_its_hash_is_in_tag_and_record(lab):
    lab.params("augment", rotation=90)
    lab.candidate(lab.missing(0), model_sha256="a model")
    report = registered()
    digest = evidence.folder_sha256(lab.evidence_folder("1"))
    assert lab.get("1").tags[versions.EVIDENCE_TAG] == digest
    assert report["promotion"]["evidence"] == lab.look().entries[0].evidence == digest
    measured = json.loads(stored(lab, "1")["measured.json"])
    params = params_file.load()
    assert measured["params"] == {
        "seed": params.seed,
        "evaluate": params.evaluate.model_dump(),
        "register": params.registration.model_dump(),
    }
    assert (measured["model_sha256"], measured["data_md5"], measured["overrides"]) == ("a model", MD5, [])
    assert {"imaging/images.py", "evaluation/metrics.py"} <= set(measured["code"])
    assert {"commit", "dirty"} == set(measured["git"])
    assert {"pillow", "tensorflow"} <= set(measured["packages"])
    split = pd.read_parquet(lab.evidence_folder("1") / "split.parquet")
    assert list(split.columns) == ["pixels_sha256", "side", "group", "diagnosis", "path"]


def test_tampered_evidence_is_refused_by_all_who_read_it_before_anything_is_written(lab, run_cli):
    for _ in range(2):
        lab.version()
    for number in ("1", "2"):
        lab.move(number)
    tamper(lab, "1")
    for command in (("rollback",), ("promote", "1"), ("verify", "1")):
        done = run_cli("champion", *command)
        assert done.exit_code == 1
        assert "the evidence of skin-lesion-mobilenetv2 version 1 was changed after it was registered" in done.stderr, command
        assert "Restore its artifacts" in done.stderr
    assert lab.champion() == "2"
    tamper(lab, "2")
    lab.candidate(lab.missing(0))
    with pytest.raises(EvidenceChanged, match="version 2 was changed"):
        registered()
    assert len(lab.client.search_model_versions(f"name = '{MODEL}'")) == 2
    assert "Lesionflow" not in run_cli("champion", "promote", "1", "--override", "a backup says it is sound").stderr
    assert lab.champion() == "1"


def test_a_tag_that_was_changed_with_the_evidence_does_not_hide_it_from_the_record(lab):
    lab.version()
    lab.move("1")
    tamper(lab, "1")
    lab.client.set_model_version_tag(MODEL, "1", versions.EVIDENCE_TAG, evidence.folder_sha256(lab.evidence_folder("1")))
    with pytest.raises(EvidenceChanged, match="the promotion record says sha256"):
        read(lab, "1")
    lab.client.delete_model_version_tag(MODEL, "1", versions.EVIDENCE_TAG)
    with pytest.raises(EvidenceChanged, match="its tag is gone"):
        read(lab, "1")


def test_the_candidates_run_cannot_stand_in_for_evidence_whose_tag_is_gone(lab):
    lab.candidate(lab.missing(4))  # the gate refuses it, so the record does not name it
    assert registered()["champion"] is None
    lab.client.delete_model_version_tag(MODEL, "1", versions.EVIDENCE_TAG)
    with pytest.raises(EvidenceLost, match=r"gives no evaluation/test_predictions\.parquet"):
        read(lab, "1")


def test_a_version_of_old_is_read_from_its_run_with_the_bins_that_give_its_calibration_error(lab):
    number = lab.version_of_old(varied(lab, 1))
    found = read(lab, number)
    assert (found.test_split_hash, found.data_md5, found.bins, found.passed_alone) == ("split a", MD5, 15, None)
    lab.move(number)
    assert lab.look().entries[0].evidence is None
    lab.candidate(varied(lab, 1))
    assert rule(registered(), "melanoma sensitivity kept against the champion")["says"].startswith("melanoma sensitivity +0.000")


def test_versions_of_old_that_share_a_run_have_lost_their_evidence_and_the_champion_is_measured_again(lab, run_cli, monkeypatch):
    first = lab.version_of_old(lab.missing(0))
    run = lab.get(first).run_id
    second = lab.version_of_old(lab.missing(2), run)
    lab.move(first)
    for number, other in ((first, second), (second, first)):
        with pytest.raises(EvidenceLost, match=f"shares its MLflow run {run} with version {other}"):
            read(lab, number)
    refused = run_cli("champion", "promote", second)
    assert refused.exit_code == 1
    assert "`dvc repro --force --single-item register`" in refused.stderr
    monkeypatch.setattr(reevaluation, "reevaluate", lambda *_: lab.missing(0))
    lab.candidate(lab.missing(2))
    report = registered()
    said = rule(report, "melanoma sensitivity kept against the champion")["says"]
    assert said.startswith("melanoma sensitivity -0.500")
    assert "measured again" in said
    lab.client.delete_model_version(MODEL, second)
    with pytest.raises(EvidenceLost, match="a version that was deleted since wrote over it"):
        read(lab, first)


def test_a_candidate_evaluated_differently_is_a_version_of_its_own_and_a_former_champion_does_not_return_by_it(lab):
    lab.candidate(lab.missing(0), model_sha256="a model")
    assert registered()["champion"] == "1"
    assert registered()["new_version"] is False
    before = stored(lab, "1")
    lab.version()
    lab.move("2")
    lab.candidate(lab.missing(0), model_sha256="a model", split="split b")
    again = registered_with_measured_champion(lab)
    assert (again["version"], again["new_version"], again["was_champion"], again["champion"]) == ("3", True, True, "2")
    assert stored(lab, "1") == before
    assert read(lab, "3").test_split_hash == "split b"


def registered_with_measured_champion(lab) -> dict:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reevaluation, "reevaluate", lambda *_: lab.missing(0))
        return registered()


def test_the_best_version_on_the_split_counts_beside_the_champion_and_a_degenerate_one_does_not(lab):
    lab.params("register", promotion="manual", max_drop=0.6)
    lab.candidate(lab.missing(0))
    registered()  # never champion
    lab.move(lab.version(wrong=1))
    lab.candidate(all_melanoma(lab))
    assert rule(registered(), "balanced accuracy floor")["passed"] is False
    lab.candidate(lab.missing(3))
    report = registered()
    names = {row["name"]: row for row in report["gate"] if "kept against" in row["name"]}
    assert "version 2" in names["melanoma sensitivity kept against the champion"]["says"]
    best = names["melanoma sensitivity kept against the best"]
    assert "-0.750" in best["says"]
    assert "version 1" in best["says"]
    assert best["passed"] is False
    assert names["balanced accuracy kept against the best"]["passed"] is True


def all_melanoma(lab) -> Predictions:
    right = lab.scored(0)
    output = int(np.flatnonzero(right.probabilities[right.critical][0] > 0.5)[0])
    return Predictions(right.images, np.tile(np.eye(9)[output] * 0.91 + 0.01, (len(right.images), 1)), right.task)


@pytest.mark.parametrize(
    ("overrides", "manual"),
    [(["train.dropout=0.4", "+finetune.epochs=3"], []), (["train.dropout=0.4", "register.min_balanced_accuracy=0"], [1])],
)
def test_a_run_whose_overrides_touch_more_than_training_leaves_promotion_to_a_person(lab, capsys, overrides, manual):
    lab.params("register", promotion="automatic")
    lab.top_params(overrides=overrides)
    lab.candidate(lab.missing(0))
    report = registered()
    assert report["gate_passed"]
    assert report["overrides_beyond_training"] == [overrides[at] for at in manual]
    assert (report["promote"], report["champion"]) == (("manual", None) if manual else ("automatic", "1"))
    assert json.loads(stored(lab, "1")["measured.json"])["overrides"] == overrides
    assert lab.get("1").tags["overrides"] == lab.get("1").tags["judged.overrides"] == ", ".join(overrides)
    said = capsys.readouterr().out
    assert ("because this run overrides register.min_balanced_accuracy=0" in said) == bool(manual)


def varied(lab, wrong: int) -> Predictions:
    """Predictions whose calibration error depends on the number of bins."""
    scored = lab.scored(wrong)
    probabilities = scored.probabilities ** np.random.default_rng(0).uniform(0.4, 1.5, (len(scored.images), 1))
    return Predictions(scored.images, probabilities / probabilities.sum(axis=1, keepdims=True), scored.task)


def test_verify_uses_the_bins_that_the_version_was_measured_with(lab, monkeypatch):
    lab.params("register", max_calibration_error=1.0)
    scored = varied(lab, 1)
    monkeypatch.setattr(reevaluation, "reevaluate", lambda *_: scored)
    lab.candidate(scored)
    assert registered()["champion"] == "1"
    lab.params("evaluate", calibration_bins=2)
    assert scored.headline("calibration_error", np.arange(36), 2) != pytest.approx(scored.headline("calibration_error", np.arange(36), 15))
    report = verify.verify_version()
    assert verify.is_reproduced(report)


def test_a_registration_that_fails_half_way_ends_its_run_as_failed_and_registers_nothing(lab, monkeypatch):
    def broken(*_):
        raise LesionflowError("MLflow rejected the model")

    monkeypatch.setattr(logged_model, "log_model", broken)
    lab.candidate(lab.missing(0))
    with pytest.raises(LesionflowError, match="rejected the model"):
        registered()
    runs = lab.client.search_runs([lab.client.get_experiment_by_name("skin-lesions").experiment_id])
    assert [run.info.status for run in runs] == ["FAILED"]
    assert lab.client.search_model_versions(f"name = '{MODEL}'") == []


def test_a_ranking_on_tags_edited_in_the_page_changes_nothing(lab):
    lab.version()
    lab.move(lab.version(wrong=1))
    for name in ("test.balanced_accuracy", "test.critical_sensitivity"):
        lab.client.set_model_version_tag(MODEL, "1", name, "0.1000 [0.1000, 0.1000]")
    lab.version(wrong=1)
    rules = judgement.judge_version(lab.client, read(lab, "3"), "3", lab.look(), params_file.load())
    assert "balanced accuracy kept against the best" in [rule.name for rule in rules if not rule.passed]
