import pandas as pd
import pytest
from PIL import Image

from components.core.classes import CLASSES
from components.registry import promotion, version_tags, versions
from tests.mlflow.conftest import MD5, MODEL, PER_CLASS, as_document


def history(run_cli) -> list[dict]:
    return as_document(run_cli("champion", "history", "--format", "json").stdout)


@pytest.mark.usefixtures("lab")
def test_show_of_an_empty_registry_says_so_in_both_forms(run_cli):
    assert "has no champion and no challenger" in run_cli("champion", "show").stdout
    document = as_document(run_cli("champion", "show", "--format", "json").stdout)
    assert document == {"model": MODEL, "champion": None, "challenger": None, "noticed": None}
    assert history(run_cli) == []


def test_show_gives_figures_verdict_and_origin_of_both(lab, run_cli):
    lab.version()
    lab.move("1", promotion.AUTOMATIC)
    lab.version(wrong=3)
    lab.client.set_registered_model_alias(MODEL, versions.CHALLENGER, "2")
    document = as_document(run_cli("champion", "show", "--format", "json").stdout)
    champion, challenger = document["champion"], document["challenger"]
    assert (champion["version"], champion["gate"], champion["data_md5"], champion["test_split_hash"]) == ("1", "passed", MD5, "split a")
    assert champion["figures"]["balanced_accuracy"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert champion["run_id"] == lab.get("1").run_id
    assert champion["champion_by"].startswith("gate, ")
    assert (challenger["version"], challenger["gate"], challenger["champion_since"]) == ("2", "failed", None)
    assert "balanced accuracy floor" in [rule["name"] for rule in challenger["rules"] if not rule["passed"]]
    table = run_cli("champion", "show").stdout
    assert "0.2500 [0.2500, 0.2500]" in table
    assert "FAIL: 0.250 [0.250, 0.250], at least 0.500 required" in table


def test_a_move_in_the_ui_is_warned_of_once_on_standard_error_and_json_stands_alone(lab, run_cli):
    lab.version()
    lab.move("1")
    lab.version(wrong=3)
    lab.move_in_ui("2")
    first = run_cli("champion", "show", "--format", "json")
    assert "warning: champion was moved outside the gate, from version 1 to version 2, which FAILED the gate" in first.stderr
    assert as_document(first.stdout)["noticed"]["after"] == "2"
    second = run_cli("champion", "show", "--format", "json")
    assert second.stderr == ""
    assert as_document(second.stdout)["noticed"] is None


def test_promote_applies_the_gate_against_the_champion_and_says_which_rule_failed(lab, run_cli):
    lab.version()
    lab.move("1")
    lab.version(wrong=1)
    refused = run_cli("champion", "promote", "2")
    assert refused.exit_code == 1
    assert "FAIL  balanced accuracy kept against the champion: balanced accuracy -0.250" in refused.stdout
    assert "--override REASON" in refused.stderr
    assert lab.champion() == "1"
    assert lab.get("2").tags["gate"] == "failed"
    assert lab.get("2").tags["judged.against"] == "1"
    assert len(history(run_cli)) == 1


def test_promote_moves_the_alias_where_the_gate_passes_with_the_thresholds_of_now(lab, run_cli):
    lab.version(wrong=1)
    lab.params("register", min_balanced_accuracy=0.9)
    assert run_cli("champion", "promote", "1").exit_code == 1
    lab.params("register", min_balanced_accuracy=0.5, max_calibration_error=0.5)
    done = run_cli("champion", "promote", "1")
    assert done.exit_code == 0
    assert "version 1 is now the champion (before: none; by: promote)" in done.stdout
    assert lab.champion() == "1"


def test_a_version_that_was_evaluated_without_shifts_is_refused_and_the_way_out_is_said(lab, run_cli):
    lab.version(shifts=False, judged=False)
    refused = run_cli("champion", "promote", "1")
    assert refused.exit_code == 1
    assert "not measured under square crop" in " ".join((refused.stdout + refused.stderr).split())
    assert lab.champion() is None


def test_an_override_is_recorded_with_its_reason(lab, run_cli):
    lab.version()
    lab.move("1")
    lab.version(wrong=3)
    done = run_cli("champion", "promote", "2", "--override", "the clinic's camera changed")
    assert done.exit_code == 0
    last = history(run_cli)[-1]
    assert (last["after"], last["source"], last["reason"]) == ("2", "override", "the clinic's camera changed")
    assert last["verdict"].startswith("failed: balanced accuracy floor")
    assert "the clinic's camera changed" in run_cli("champion", "history").stdout


def test_a_blank_reason_is_refused(lab, run_cli):
    lab.version(wrong=3)
    done = run_cli("champion", "promote", "1", "--override", "  ")
    assert done.exit_code == 1
    assert "error: --override wants a reason" in done.stderr
    assert lab.champion() is None


def test_an_override_promotes_a_version_that_the_gate_cannot_judge(lab, run_cli):
    lab.client.create_registered_model(MODEL)
    lab.client.create_model_version(MODEL, "runs:/x/model")
    refused = run_cli("champion", "promote", "1")
    assert refused.exit_code == 1
    assert "cannot be judged" in refused.stderr
    assert lab.champion() is None
    done = run_cli("champion", "promote", "1", "--override", "from the other lab")
    assert done.exit_code == 0
    assert "warning: the gate could not judge version 1" in done.stderr
    assert history(run_cli)[-1]["verdict"] == version_tags.NEVER_JUDGED


def test_promoting_the_champion_says_so_and_changes_nothing(lab, run_cli):
    lab.version()
    lab.move("1")
    done = run_cli("champion", "promote", "1")
    assert done.exit_code == 0
    assert "is already the champion; nothing was changed" in done.stdout
    assert len(history(run_cli)) == 1


@pytest.mark.parametrize("wanted", ["7", "nonsense"])
def test_an_unknown_version_is_refused_with_those_there_are(lab, run_cli, wanted):
    lab.version()
    lab.version()
    done = run_cli("champion", "promote", wanted)
    assert done.exit_code == 1
    assert wanted in done.stderr
    assert "(versions: 1, 2)" in done.stderr


def test_a_second_rollback_goes_one_further_back_and_a_third_has_nowhere_to_go(lab, run_cli):
    for number in ("1", "2", "3"):
        lab.version()
        lab.move(number)
    assert "version 2 is the champion again (before: 3)" in run_cli("champion", "rollback", "--reason", "it misses nodular ones").stdout
    assert history(run_cli)[-1]["reason"] == "it misses nodular ones"
    assert "version 1 is the champion again" in run_cli("champion", "rollback").stdout
    third = run_cli("champion", "rollback")
    assert third.exit_code == 1
    assert "nothing to roll back to" in third.stderr
    assert lab.champion() == "1"


def test_a_rollback_to_a_version_that_was_deleted_is_refused(lab, run_cli):
    for number in ("1", "2"):
        lab.version()
        lab.move(number)
    lab.client.delete_model_version(MODEL, "1")
    done = run_cli("champion", "rollback")
    assert done.exit_code == 1
    assert "version 1, which was deleted" in done.stderr
    assert "(versions: 2)" in done.stderr
    assert lab.champion() == "2"


def test_a_rollback_to_a_version_that_failed_the_gate_warns(lab, run_cli):
    lab.version(wrong=3)
    lab.version()
    lab.move("1")
    lab.move("2")
    done = run_cli("champion", "rollback")
    assert done.exit_code == 0
    assert "verdict on version 1: failed" in done.stderr


def reading(truth_of: dict[str, str], wrong: str = "") -> object:
    """A pyfunc model that knows every image by its bytes; for `wrong` it names the class after."""
    import hashlib

    from mlflow.pyfunc import PythonModel

    class Reading(PythonModel):
        def predict(self, context, model_input: pd.DataFrame, params=None) -> pd.DataFrame:  # noqa: ARG002
            rows = []
            for content in model_input["image"]:
                right = classes.index(known[hashlib.sha256(content).hexdigest()])
                called = (right + (classes[right] == missed)) % len(classes)
                rows.append([0.92 if at == called else 0.01 for at in range(len(classes))])
            frame = pd.DataFrame(rows, columns=list(classes))
            frame.insert(0, "diagnosis", frame.idxmax(axis=1))
            return frame

    known, missed, classes = truth_of, wrong, tuple(CLASSES)
    return Reading()


def model_of(lab, wrong: str = "") -> object:
    import hashlib

    return reading({hashlib.sha256(p.read_bytes()).hexdigest(): p.parent.name for p in (lab.root / "data").rglob("*.png")}, wrong)


def test_verify_passes_where_the_champion_measures_what_was_recorded(lab, run_cli):
    lab.version(model=model_of(lab))
    lab.move("1")
    done = run_cli("champion", "verify", "--format", "json")
    report = as_document(done.stdout)
    assert done.exit_code == 0
    assert (report["model"], report["version"], report["data_md5"], report["images"]) == (MODEL, "1", MD5, 9 * PER_CLASS)
    assert (report["moved"], report["unsupported"], report["changed_diagnoses"]) == ([], [], 0)
    assert report["figures"]["balanced_accuracy"] == {"recorded": 1.0, "now": 1.0}
    assert "it measures what was recorded" in run_cli("champion", "verify").stdout


def test_verify_says_which_figure_moved_and_by_how_much(lab, run_cli):
    lab.version(model=model_of(lab, wrong="melanoma"))
    lab.move("1")
    done = run_cli("champion", "verify")
    assert done.exit_code == 1
    assert "melanoma sensitivity     1.0000 recorded, 0.0000 now (-1.0000)  MOVED" in done.stdout
    assert f"changed diagnoses: {PER_CLASS}" in done.stdout


@pytest.mark.parametrize("spoil", ["gone", "other"])
def test_verify_names_the_dataset_where_data_does_not_hold_the_images(lab, run_cli, spoil):
    lab.version(model=model_of(lab))
    lab.move("1")
    path = lab.root / "data/nevus/nevus_0.png"
    path.unlink()
    if spoil == "other":
        Image.new("RGB", (24, 24)).save(path)
    done = run_cli("champion", "verify")
    assert done.exit_code == 1
    assert "1 of 36 test images are not in data/ as they were measured (the first: data/nevus/nevus_0.png)" in done.stderr
    assert f"dataset md5 {MD5}" in done.stderr


def test_verify_without_a_champion_says_how_to_make_one(lab, run_cli):
    lab.version()
    done = run_cli("champion", "verify")
    assert done.exit_code == 1
    assert "has no champion: `lesionflow champion promote VERSION`" in done.stderr


def test_a_champion_measured_on_another_split_is_measured_again_before_a_promotion(lab, run_cli):
    lab.version(split="split of last year", model=model_of(lab, wrong="nevus"))
    lab.move("1")
    lab.version()
    done = run_cli("champion", "promote", "2")
    assert done.exit_code == 0, done.stderr
    assert "balanced accuracy +0.111" in done.stdout
    assert "measured again on this split" in done.stdout


def test_a_promotion_that_wants_images_which_are_gone_names_the_dataset(lab, run_cli):
    lab.version(split="split of last year", model=model_of(lab))
    lab.move("1")
    lab.version()
    (lab.root / "data/nevus/nevus_0.png").unlink()
    done = run_cli("champion", "promote", "2")
    assert done.exit_code == 1
    assert f"dataset md5 {MD5}" in done.stderr
    assert lab.champion() == "1"
