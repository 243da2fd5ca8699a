import pytest

from components.registry import promotion, promotion_record, version_tags, versions
from components.registry.promotion import AUTOMATIC, EXTERNAL, ROLLBACK
from tests.mlflow.conftest import MODEL, rules


def claim(lab, version: str) -> None:
    """What a process leaves that is killed after its claim and before the alias moves."""
    state = lab.look()
    promotion_record.append_entry(
        lab.client,
        state.record,
        promotion._promotion_entry(MODEL, state.number, version, promotion.Cause(AUTOMATIC, "passed", who="someone who was killed")),
    )


def test_an_empty_registry_has_no_champion_and_no_record(lab):
    state = lab.look()
    assert (state.record, state.champion, state.noticed) == (None, None, None)


def test_a_move_is_in_the_record_with_what_made_it(lab):
    lab.version()
    lab.version()
    lab.move("1", AUTOMATIC)
    entry = lab.move("2", AUTOMATIC)
    assert (entry.before, entry.after, entry.source) == ("1", "2", AUTOMATIC)
    assert [(row.before, row.after) for row in lab.look().entries] == [(None, "1"), ("1", "2")]
    assert lab.champion() == "2"


def test_a_process_killed_between_claim_and_alias_leaves_a_move_that_the_next_look_finishes(lab):
    lab.version()
    lab.version()
    lab.move("1")
    claim(lab, "2")
    assert lab.champion() == "1"
    state = lab.look()
    assert state.number == lab.champion() == "2"
    assert state.noticed is None
    assert state.entries[-1].source == AUTOMATIC


def test_a_move_in_the_ui_after_a_half_done_one_stands(lab):
    for _ in range(3):
        lab.version()
    lab.move("1")
    claim(lab, "2")
    lab.move_in_ui("3")
    state = lab.look()
    assert lab.champion() == "3"
    assert [(row.before, row.after, row.source) for row in state.entries[1:]] == [("1", "2", AUTOMATIC), ("2", "3", EXTERNAL)]


def test_a_half_done_move_to_a_version_that_was_deleted_leaves_the_champion_as_it_was(lab):
    lab.version()
    lab.version()
    lab.move("1")
    claim(lab, "2")
    lab.client.delete_model_version(MODEL, "2")
    assert lab.look().number == lab.champion() == "1"
    assert lab.look().noticed is None


def test_a_move_in_the_ui_is_noticed_once_and_only_once(lab):
    lab.version()
    lab.version(wrong=3)
    lab.move("1")
    lab.move_in_ui("2")
    noticed = lab.look().noticed
    assert (noticed.before, noticed.after, noticed.source) == ("1", "2", EXTERNAL)
    assert noticed.verdict == "failed: balanced accuracy floor, calibration error ceiling, melanoma sensitivity floor"
    assert "FAILED the gate" in promotion.external_move_warning(noticed)
    assert lab.look().noticed is None
    assert len(lab.look().entries) == 2


def test_a_champion_made_in_the_ui_that_was_never_judged_is_said_so(lab):
    lab.version(judged=False)
    lab.move_in_ui("1")
    noticed = lab.look().noticed
    assert (noticed.before, noticed.after, noticed.verdict) == (None, "1", version_tags.NEVER_JUDGED)
    assert "NEVER JUDGED" in promotion.external_move_warning(noticed)


def test_an_alias_that_was_removed_is_noticed_and_a_rollback_brings_it_back(lab):
    lab.version()
    lab.move("1")
    lab.client.delete_registered_model_alias(MODEL, versions.CHAMPION)
    state = lab.look()
    assert (state.noticed.before, state.noticed.after) == ("1", None)
    assert "nothing serves" in promotion.external_move_warning(state.noticed)
    assert lab.look().noticed is None
    assert promotion.rollback_target(lab.look().entries) == "1"
    lab.move("1", ROLLBACK)
    assert lab.champion() == "1"


def test_a_person_who_moves_the_alias_while_we_promote_is_not_overruled(lab):
    for _ in range(3):
        lab.version()
    lab.move("1")
    state = lab.look()
    lab.move_in_ui("3")
    with pytest.raises(promotion_record.ConcurrentPromotionError, match="moved to version 3 meanwhile"):
        promotion.move_champion(lab.client, state, "2", promotion.Cause(promotion.MANUAL, "passed"))
    assert lab.champion() == "3"


def test_a_model_that_was_registered_by_other_means_gets_a_record(lab):
    lab.client.create_registered_model(MODEL)
    lab.client.create_model_version(MODEL, "runs:/x/model")
    lab.move_in_ui("1")
    assert lab.look().noticed.verdict == version_tags.NEVER_JUDGED


def test_a_new_verdict_replaces_every_rule_of_the_old_one_and_the_description_says_it(lab):
    number = lab.version()
    assert "Gate: **passed** with no champion to beat" in lab.get(number).description
    versions.tag_verdict(lab.client, MODEL, number, versions.Verdict(rules("melanoma sensitivity floor"), "7"))
    tags = lab.get(number).tags
    assert {name for name in tags if name.startswith("gate.")} == {"gate.balanced_accuracy_floor", "gate.melanoma_sensitivity_floor"}
    assert version_tags.rules_of(tags) == rules("melanoma sensitivity floor")
    assert version_tags.gate_verdict(lab.get(number)) == "failed: melanoma sensitivity floor"
    description = lab.get(number).description
    assert "Gate: **failed** against version 7" in description
    assert "| balanced accuracy | 1.0000 | 1.0000 to 1.0000 |" in description


def test_the_registered_model_says_what_it_is_not_for(lab):
    lab.version()
    assert "**Not for**: diagnosis without a clinician" in lab.client.get_registered_model(MODEL).description
