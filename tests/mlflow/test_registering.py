"""The register stage, on candidates with predictions but without a network."""

import pytest

from components import register
from components.core.files import read_json
from components.core.paths import REGISTRATION
from components.registry import judgement, promotion, versions
from components.runtime import params_file
from components.tracking import runs, store
from tests.mlflow.conftest import MODEL
from tests.support import documents


def run_register(capsys) -> tuple[dict, str]:
    register.register(params_file.load())
    output = capsys.readouterr()
    return read_json(REGISTRATION), output.out + output.err


def test_automatic_promotion_makes_passing_candidate_champion_once(registry, capsys):
    registry.register_version()
    report, output = run_register(capsys)
    assert (report["champion"], report["promotion"]["source"], report["new_version"]) == ("1", promotion.AUTOMATIC, False)
    assert "it is champion" in output
    second_report, _ = run_register(capsys)
    assert (second_report["version"], second_report["promotion"], second_report["champion"]) == ("1", None, "1")
    assert len(registry.champion_state().entries) == 1
    assert len(registry.client.search_model_versions(f"name = '{MODEL}'")) == 1


def test_manual_promotion_makes_passing_candidate_challenger(registry, capsys):
    registry.set_params("register", promotion="manual")
    registry.register_version()
    report, output = run_register(capsys)
    assert (report["gate_passed"], report["promotion"], report["champion"]) == (True, None, None)
    assert "`lesionflow champion promote 1`" in output
    assert versions.version_by_alias(registry.client, MODEL, versions.CHALLENGER).version == registry.get_version("1").version
    assert registry.champion_state().entries == ()


def test_candidate_of_dvc_experiment_moves_no_alias_and_is_in_store_of_project(registry, capsys, monkeypatch, tmp_path):
    registry.register_version()
    registry.move_champion("1")
    copy = tmp_path / "copy that DVC deletes"
    copy.mkdir()
    monkeypatch.setenv("DVC_EXP_NAME", "ward-b")
    monkeypatch.setenv("DVC_ROOT", str(registry.root))
    registry.register_version()
    before = registry.client.get_registered_model(MODEL).aliases
    report, output = run_register(capsys)

    assert registry.client.get_registered_model(MODEL).aliases == before
    assert (report["experiment"], report["promotion"], report["champion"]) == ("ward-b", None, "1")
    assert "it is from the experiment ward-b" in output
    assert registry.get_version("2").tags["dvc.experiment"] == "ward-b"
    monkeypatch.chdir(copy)
    assert str(registry.root / "mlruns/mlflow.db") in store.store_uri()
    assert store.artifact_root() == (registry.root / "mlruns/artifacts").resolve().as_uri()


def test_automatic_promotion_keeps_champion_when_gate_fails(registry, capsys):
    registry.register_version()
    registry.move_champion("1")
    registry.register_version(wrong=3)
    report, output = run_register(capsys)
    assert (report["gate_passed"], report["promotion"], report["champion"]) == (False, None, "1")
    assert "the gate did not pass it" in output


def test_candidate_stays_challenger_when_champion_moved_meanwhile(registry, capsys, monkeypatch):
    for _ in range(2):
        registry.register_version()
    registry.move_champion("1")
    registry.register_version()
    judge_version = judgement.judge_version

    def move_champion_then_judge(*arguments):
        registry.move_champion("2")
        return judge_version(*arguments)

    monkeypatch.setattr(judgement, "judge_version", move_champion_then_judge)
    report, output = run_register(capsys)
    assert (report["gate_passed"], report["promotion"], report["champion"]) == (True, None, "2")
    assert "champion of skin-lesion-mobilenetv2 moved to version 2 meanwhile" in report["overtaken"]
    assert "it is challenger: champion of skin-lesion-mobilenetv2 moved to version 2 meanwhile" in output
    assert [row.after for row in registry.champion_state().entries] == ["1", "2"]


def test_rolled_back_candidate_is_not_promoted_automatically(registry, capsys):
    for number in ("1", "2"):
        registry.register_version()
        registry.move_champion(number)
    registry.move_champion("1", promotion.ROLLBACK)
    report, output = run_register(capsys)
    assert (report["gate_passed"], report["was_champion"], report["champion"]) == (True, True, "1")
    assert "comes back only by hand: `lesionflow champion promote 2`" in output


def test_register_warns_of_move_in_ui(registry, capsys):
    registry.register_version(wrong=3)
    registry.register_version()
    registry.move_champion_in_ui("1")
    report, output = run_register(capsys)
    assert (report["noticed"]["before"], report["noticed"]["after"]) == (None, "1")
    assert "warning: champion was moved outside the gate, from none to version 1, which FAILED the gate" in output


@pytest.mark.parametrize("name", ["HAM10000", "BCN20000: 2019 (v2) + a/b", "../x", "Würzburg & Ulm", "/", "x" * 400])
def test_metric_name_of_any_collection_is_valid_in_mlflow(registry, name):
    run = registry.client.get_model_version(MODEL, registry.register_version()).run_id
    metric = f"collection_left_out/{register.metric_name(name)}"
    runs.log_metrics(registry.client, run, {metric: 0.25})
    assert registry.client.get_run(run).data.metrics[metric] == 0.25


def test_triage_point_is_logged_where_there_is_one():
    assert register.triage_metrics(documents.clinic()) == {"triage/flagged": 0.6, "triage/sensitivity": 0.9, "triage/specificity": 0.4}
    assert register.triage_metrics(documents.clinic(triage=False)) == {}
