import pytest
from PIL import Image

from components.registry import promotion, version_tags, versions
from tests.mlflow.conftest import MD5, MODEL, PER_CLASS, model_of, parse_json


def history(run_cli) -> list[dict]:
    return parse_json(run_cli("champion", "history", "--format", "json").stdout)


@pytest.mark.usefixtures("registry")
def test_show_reports_empty_registry_as_text_and_json(run_cli):
    assert "has no champion and no challenger" in run_cli("champion", "show").stdout
    document = parse_json(run_cli("champion", "show", "--format", "json").stdout)
    assert document == {"model": MODEL, "champion": None, "challenger": None, "noticed": None}
    assert history(run_cli) == []


def test_show_reports_metrics_verdict_and_origin_of_both_versions(registry, run_cli):
    registry.register_version()
    registry.move_champion("1", promotion.AUTOMATIC)
    registry.register_version(wrong=3)
    registry.client.set_registered_model_alias(MODEL, versions.CHALLENGER, "2")
    document = parse_json(run_cli("champion", "show", "--format", "json").stdout)
    champion, challenger = document["champion"], document["challenger"]
    assert (champion["version"], champion["gate"], champion["data_md5"], champion["test_split_hash"]) == ("1", "passed", MD5, "split a")
    assert champion["figures"]["balanced_accuracy"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert champion["run_id"] == registry.get_version("1").run_id
    assert champion["champion_by"].startswith("gate, ")
    assert (challenger["version"], challenger["gate"], challenger["champion_since"]) == ("2", "failed", None)
    assert "balanced accuracy floor" in [rule["name"] for rule in challenger["rules"] if not rule["passed"]]
    table = run_cli("champion", "show").stdout
    assert "0.2500 [0.2500, 0.2500]" in table
    assert "FAIL: 0.250 [0.250, 0.250], at least 0.500 required" in table


def test_show_warns_once_on_stderr_of_move_in_ui(registry, run_cli):
    registry.register_version()
    registry.move_champion("1")
    registry.register_version(wrong=3)
    registry.move_champion_in_ui("2")
    first = run_cli("champion", "show", "--format", "json")
    assert "warning: champion was moved outside the gate, from version 1 to version 2, which FAILED the gate" in first.stderr
    assert parse_json(first.stdout)["noticed"]["after"] == "2"
    second = run_cli("champion", "show", "--format", "json")
    assert second.stderr == ""
    assert parse_json(second.stdout)["noticed"] is None


def test_promote_names_rule_that_failed_against_champion(registry, run_cli):
    registry.register_version()
    registry.move_champion("1")
    registry.register_version(wrong=1)
    refused = run_cli("champion", "promote", "2")
    assert refused.exit_code == 1
    assert "FAIL  balanced accuracy kept against the champion: balanced accuracy -0.250" in refused.stdout
    assert "--override REASON" in refused.stderr
    assert registry.champion() == "1"
    assert registry.get_version("2").tags["gate"] == "failed"
    assert registry.get_version("2").tags["judged.against"] == "1"
    assert len(history(run_cli)) == 1


def test_promote_applies_current_thresholds(registry, run_cli):
    registry.register_version(wrong=1)
    registry.set_params("register", min_balanced_accuracy=0.9)
    assert run_cli("champion", "promote", "1").exit_code == 1
    registry.set_params("register", min_balanced_accuracy=0.5, max_calibration_error=0.5)
    result = run_cli("champion", "promote", "1")
    assert result.exit_code == 0
    assert "version 1 is now the champion (before: none; by: promote)" in result.stdout
    assert registry.champion() == "1"


def test_promote_refuses_version_evaluated_without_shifts(registry, run_cli):
    registry.register_version(shifts=False, with_verdict=False)
    refused = run_cli("champion", "promote", "1")
    assert refused.exit_code == 1
    assert "not measured under square crop" in " ".join((refused.stdout + refused.stderr).split())
    assert registry.champion() is None


def test_promote_records_reason_of_override(registry, run_cli):
    registry.register_version()
    registry.move_champion("1")
    registry.register_version(wrong=3)
    result = run_cli("champion", "promote", "2", "--override", "the clinic's camera changed")
    assert result.exit_code == 0
    last = history(run_cli)[-1]
    assert (last["after"], last["source"], last["reason"]) == ("2", "override", "the clinic's camera changed")
    assert last["verdict"].startswith("failed: balanced accuracy floor")
    assert "the clinic's camera changed" in run_cli("champion", "history").stdout


def test_promote_refuses_blank_override_reason(registry, run_cli):
    registry.register_version(wrong=3)
    result = run_cli("champion", "promote", "1", "--override", "  ")
    assert result.exit_code == 1
    assert "error: --override wants a reason" in result.stderr
    assert registry.champion() is None


def test_override_promotes_version_that_gate_cannot_judge(registry, run_cli):
    registry.client.create_registered_model(MODEL)
    registry.client.create_model_version(MODEL, "runs:/x/model")
    refused = run_cli("champion", "promote", "1")
    assert refused.exit_code == 1
    assert "cannot be judged" in refused.stderr
    assert registry.champion() is None
    result = run_cli("champion", "promote", "1", "--override", "from the other lab")
    assert result.exit_code == 0
    assert "warning: the gate could not judge version 1" in result.stderr
    assert history(run_cli)[-1]["verdict"] == version_tags.NEVER_JUDGED


def test_promote_of_current_champion_changes_nothing(registry, run_cli):
    registry.register_version()
    registry.move_champion("1")
    result = run_cli("champion", "promote", "1")
    assert result.exit_code == 0
    assert "is already the champion; nothing was changed" in result.stdout
    assert len(history(run_cli)) == 1


@pytest.mark.parametrize("number", ["7", "nonsense"])
def test_promote_refuses_unknown_version_and_lists_versions(registry, run_cli, number):
    registry.register_version()
    registry.register_version()
    result = run_cli("champion", "promote", number)
    assert result.exit_code == 1
    assert number in result.stderr
    assert "(versions: 1, 2)" in result.stderr


def test_rollback_twice_returns_to_first_champion_then_fails(registry, run_cli):
    for number in ("1", "2", "3"):
        registry.register_version()
        registry.move_champion(number)
    assert "version 2 is the champion again (before: 3)" in run_cli("champion", "rollback", "--reason", "it misses nodular ones").stdout
    assert history(run_cli)[-1]["reason"] == "it misses nodular ones"
    assert "version 1 is the champion again" in run_cli("champion", "rollback").stdout
    third = run_cli("champion", "rollback")
    assert third.exit_code == 1
    assert "nothing to roll back to" in third.stderr
    assert registry.champion() == "1"


def test_rollback_refuses_deleted_version(registry, run_cli):
    for number in ("1", "2"):
        registry.register_version()
        registry.move_champion(number)
    registry.client.delete_model_version(MODEL, "1")
    result = run_cli("champion", "rollback")
    assert result.exit_code == 1
    assert "version 1, which was deleted" in result.stderr
    assert "(versions: 2)" in result.stderr
    assert registry.champion() == "2"


def test_rollback_warns_when_version_failed_gate(registry, run_cli):
    registry.register_version(wrong=3)
    registry.register_version()
    registry.move_champion("1")
    registry.move_champion("2")
    result = run_cli("champion", "rollback")
    assert result.exit_code == 0
    assert "verdict on version 1: failed" in result.stderr


def test_verify_passes_when_metrics_are_reproduced(registry, run_cli):
    registry.register_version(model=model_of(registry))
    registry.move_champion("1")
    result = run_cli("champion", "verify", "--format", "json")
    report = parse_json(result.stdout)
    assert result.exit_code == 0
    assert (report["model"], report["version"], report["data_md5"], report["images"]) == (MODEL, "1", MD5, 9 * PER_CLASS)
    assert (report["moved"], report["unsupported"], report["changed_diagnoses"]) == ([], [], 0)
    assert report["figures"]["balanced_accuracy"] == {"recorded": 1.0, "now": 1.0}
    assert "it measures what was recorded" in run_cli("champion", "verify").stdout


def test_verify_reports_metric_that_moved_and_difference(registry, run_cli):
    registry.register_version(model=model_of(registry, wrong="melanoma"))
    registry.move_champion("1")
    result = run_cli("champion", "verify")
    assert result.exit_code == 1
    assert "melanoma sensitivity     1.0000 recorded, 0.0000 now (-1.0000)  MOVED" in result.stdout
    assert f"changed diagnoses: {PER_CLASS}" in result.stdout


@pytest.mark.parametrize("spoil", ["gone", "other"])
def test_verify_names_dataset_when_test_images_are_missing(registry, run_cli, spoil):
    registry.register_version(model=model_of(registry))
    registry.move_champion("1")
    path = registry.root / "data/nevus/nevus_0.png"
    path.unlink()
    if spoil == "other":
        Image.new("RGB", (24, 24)).save(path)
    result = run_cli("champion", "verify")
    assert result.exit_code == 1
    assert "1 of 36 test images are not in data/ as they were measured (the first: data/nevus/nevus_0.png)" in result.stderr
    assert f"dataset md5 {MD5}" in result.stderr


def test_verify_without_champion_suggests_promote(registry, run_cli):
    registry.register_version()
    result = run_cli("champion", "verify")
    assert result.exit_code == 1
    assert "has no champion: `lesionflow champion promote VERSION`" in result.stderr


def test_promote_reevaluates_champion_of_another_split(registry, run_cli):
    registry.register_version(split="split of last year", model=model_of(registry, wrong="nevus"))
    registry.move_champion("1")
    registry.register_version()
    result = run_cli("champion", "promote", "2")
    assert result.exit_code == 0, result.stderr
    assert "balanced accuracy +0.111" in result.stdout
    assert "measured again on these images" in result.stdout
    assert "pass  comparable with the champion: 36 of 36 test groups were seen by neither model" in result.stdout


def test_promote_names_dataset_when_images_are_missing(registry, run_cli):
    registry.register_version(split="split of last year", model=model_of(registry))
    registry.move_champion("1")
    registry.register_version()
    (registry.root / "data/nevus/nevus_0.png").unlink()
    result = run_cli("champion", "promote", "2")
    assert result.exit_code == 1
    assert f"dataset md5 {MD5}" in result.stderr
    assert registry.champion() == "1"
