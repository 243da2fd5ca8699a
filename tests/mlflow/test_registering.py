"""The register stage, on candidates of predictions without a network."""

import pytest

from components import register
from components.core.files import read_json
from components.core.paths import REGISTRATION
from components.registry import judgement, promotion, versions
from components.runtime import params_file
from components.tracking import runs
from tests.mlflow.conftest import MODEL


def registered(capsys) -> tuple[dict, str]:
    register.register(params_file.load())
    said = capsys.readouterr()
    return read_json(REGISTRATION), said.out + said.err


def test_automatic_makes_a_candidate_that_passes_champion_and_again_changes_nothing(lab, capsys):
    lab.version()
    report, said = registered(capsys)
    assert (report["champion"], report["promotion"]["source"], report["new_version"]) == ("1", promotion.AUTOMATIC, False)
    assert "it is champion" in said
    again, _ = registered(capsys)
    assert (again["version"], again["promotion"], again["champion"]) == ("1", None, "1")
    assert len(lab.look().entries) == 1
    assert len(lab.client.search_model_versions(f"name = '{MODEL}'")) == 1


def test_manual_leaves_a_candidate_that_passes_to_a_person(lab, capsys):
    lab.params("register", promotion="manual")
    lab.version()
    report, said = registered(capsys)
    assert (report["gate_passed"], report["promotion"], report["champion"]) == (True, None, None)
    assert "`lesionflow champion promote 1`" in said
    assert versions.version_by_alias(lab.client, MODEL, versions.CHALLENGER).version == lab.get("1").version
    assert lab.look().entries == ()


def test_automatic_leaves_the_champion_where_the_gate_fails(lab, capsys):
    lab.version()
    lab.move("1")
    lab.version(wrong=3)
    report, said = registered(capsys)
    assert (report["gate_passed"], report["promotion"], report["champion"]) == (False, None, "1")
    assert "the gate did not pass it" in said


def test_champion_moved_while_the_candidate_was_judged_leaves_it_challenger_and_says_so(lab, capsys, monkeypatch):
    for _ in range(2):
        lab.version()
    lab.move("1")
    lab.version()
    judge = judgement.judge_version

    def judge_slowly(*arguments):
        lab.move("2")
        return judge(*arguments)

    monkeypatch.setattr(judgement, "judge_version", judge_slowly)
    report, said = registered(capsys)
    assert (report["gate_passed"], report["promotion"], report["champion"]) == (True, None, "2")
    assert "champion of skin-lesion-mobilenetv2 moved to version 2 meanwhile" in report["overtaken"]
    assert "it is challenger: champion of skin-lesion-mobilenetv2 moved to version 2 meanwhile" in said
    assert [row.after for row in lab.look().entries] == ["1", "2"]


def test_a_candidate_that_was_rolled_back_from_is_not_promoted_automatically_again(lab, capsys):
    for number in ("1", "2"):
        lab.version()
        lab.move(number)
    lab.move("1", promotion.ROLLBACK)
    report, said = registered(capsys)
    assert (report["gate_passed"], report["was_champion"], report["champion"]) == (True, True, "1")
    assert "comes back only by hand: `lesionflow champion promote 2`" in said


def test_a_move_in_the_ui_is_noticed_and_warned_of(lab, capsys):
    lab.version(wrong=3)
    lab.version()
    lab.move_in_ui("1")
    report, said = registered(capsys)
    assert (report["noticed"]["before"], report["noticed"]["after"]) == (None, "1")
    assert "warning: champion was moved outside the gate, from none to version 1, which FAILED the gate" in said


@pytest.mark.parametrize("name", ["HAM10000", "BCN20000: 2019 (v2) + a/b", "../x", "Würzburg & Ulm", "/", "x" * 400])
def test_any_collection_has_a_name_that_mlflow_takes(lab, name):
    run = lab.client.get_model_version(MODEL, lab.version()).run_id
    figure = f"collection_left_out/{register.metric_name(name)}"
    runs.log_metrics(lab.client, run, {figure: 0.25})
    assert lab.client.get_run(run).data.metrics[figure] == 0.25
