from pathlib import Path

import pytest

from app.models import lookup
from components.registry import promotion, promotion_record, version_tags, versions
from components.registry.promotion import AUTOMATIC, EXTERNAL, ROLLBACK
from tests.mlflow.conftest import MODEL, rules


def append_unfinished_move(registry, version: str) -> None:
    """Append the entry of a process that is killed before it moves the alias."""
    state = registry.champion_state()
    promotion_record.append_entry(
        registry.client,
        state.record,
        promotion._promotion_entry(MODEL, state.number, version, promotion.Cause(AUTOMATIC, "passed", who="someone who was killed")),
    )


def test_empty_registry_has_no_champion_and_no_record(registry):
    state = registry.champion_state()
    assert (state.record, state.champion, state.noticed) == (None, None, None)


def test_move_is_recorded_with_source(registry):
    registry.register_version()
    registry.register_version()
    registry.move_champion("1", AUTOMATIC)
    entry = registry.move_champion("2", AUTOMATIC)
    assert (entry.before, entry.after, entry.source) == ("1", "2", AUTOMATIC)
    assert [(row.before, row.after) for row in registry.champion_state().entries] == [(None, "1"), ("1", "2")]
    assert registry.champion() == "2"


def test_next_read_finishes_move_of_killed_process(registry):
    registry.register_version()
    registry.register_version()
    registry.move_champion("1")
    append_unfinished_move(registry, "2")
    assert registry.champion() == "1"
    state = registry.champion_state()
    assert state.number == registry.champion() == "2"
    assert state.noticed is None
    assert state.entries[-1].source == AUTOMATIC


def test_move_in_ui_after_unfinished_move_is_kept(registry):
    for _ in range(3):
        registry.register_version()
    registry.move_champion("1")
    append_unfinished_move(registry, "2")
    registry.move_champion_in_ui("3")
    state = registry.champion_state()
    assert registry.champion() == "3"
    assert [(row.before, row.after, row.source) for row in state.entries[1:]] == [("1", "2", AUTOMATIC), ("2", "3", EXTERNAL)]


def test_unfinished_move_to_deleted_version_keeps_champion(registry):
    registry.register_version()
    registry.register_version()
    registry.move_champion("1")
    append_unfinished_move(registry, "2")
    registry.client.delete_model_version(MODEL, "2")
    assert registry.champion_state().number == registry.champion() == "1"
    assert registry.champion_state().noticed is None


def test_move_in_ui_is_noticed_once(registry):
    registry.register_version()
    registry.register_version(wrong=3)
    registry.move_champion("1")
    registry.move_champion_in_ui("2")
    noticed = registry.champion_state().noticed
    assert (noticed.before, noticed.after, noticed.source) == ("1", "2", EXTERNAL)
    assert noticed.verdict == "failed: balanced accuracy floor, calibration error ceiling, melanoma sensitivity floor"
    assert "FAILED the gate" in promotion.external_move_warning(noticed)
    assert registry.champion_state().noticed is None
    assert len(registry.champion_state().entries) == 2


def test_move_in_ui_to_unjudged_version_is_reported(registry):
    registry.register_version(with_verdict=False)
    registry.move_champion_in_ui("1")
    noticed = registry.champion_state().noticed
    assert (noticed.before, noticed.after, noticed.verdict) == (None, "1", version_tags.NEVER_JUDGED)
    assert "NEVER JUDGED" in promotion.external_move_warning(noticed)


def test_removed_alias_is_noticed_and_rollback_restores_it(registry):
    registry.register_version()
    registry.move_champion("1")
    registry.client.delete_registered_model_alias(MODEL, versions.CHAMPION)
    state = registry.champion_state()
    assert (state.noticed.before, state.noticed.after) == ("1", None)
    assert "nothing serves" in promotion.external_move_warning(state.noticed)
    assert registry.champion_state().noticed is None
    assert promotion.rollback_target(registry.champion_state().entries) == "1"
    registry.move_champion("1", ROLLBACK)
    assert registry.champion() == "1"


def test_promotion_fails_when_alias_was_moved_meanwhile(registry):
    for _ in range(3):
        registry.register_version()
    registry.move_champion("1")
    state = registry.champion_state()
    registry.move_champion_in_ui("3")
    with pytest.raises(promotion_record.ConcurrentPromotionError, match="moved to version 3 meanwhile"):
        promotion.move_champion(registry.client, state, "2", promotion.Cause(promotion.MANUAL, "passed"))
    assert registry.champion() == "3"


def test_model_registered_by_other_means_gets_record(registry):
    registry.client.create_registered_model(MODEL)
    registry.client.create_model_version(MODEL, "runs:/x/model")
    registry.move_champion_in_ui("1")
    assert registry.champion_state().noticed.verdict == version_tags.NEVER_JUDGED


def test_new_verdict_replaces_rules_in_tags_and_description(registry):
    number = registry.register_version()
    assert "Gate: **passed** with no champion to beat" in registry.get_version(number).description
    versions.tag_verdict(registry.client, MODEL, number, versions.Verdict(rules("melanoma sensitivity floor"), "7"))
    tags = registry.get_version(number).tags
    assert {name for name in tags if name.startswith("gate.")} == {"gate.balanced_accuracy_floor", "gate.melanoma_sensitivity_floor"}
    assert version_tags.rules_of(tags) == rules("melanoma sensitivity floor")
    assert version_tags.gate_verdict(registry.get_version(number)) == "failed: melanoma sensitivity floor"
    description = registry.get_version(number).description
    assert "Gate: **failed** against version 7" in description
    assert "| balanced accuracy | 1.0000 | 1.0000 to 1.0000 |" in description


def test_registered_model_describes_excluded_uses(registry):
    registry.register_version()
    assert "**Not for**: diagnosis without a clinician" in registry.client.get_registered_model(MODEL).description


def test_reader_tells_of_a_move_in_ui_and_writes_nothing(registry):
    registry.register_version()
    registry.register_version()
    registry.move_champion("1")
    registry.move_champion_in_ui("2")
    for _ in range(2):
        found = lookup.find_version(MODEL, "champion", lambda version: Path(str(version.version)))
        assert (found.number, found.folder) == ("2", Path("2"))
        assert "`lesionflow champion show` notes it" in found.warnings[0]
    assert registry.champion_state().noticed is not None


def test_reader_does_not_finish_a_move(registry):
    registry.register_version()
    registry.register_version()
    registry.move_champion("1")
    append_unfinished_move(registry, "2")
    found = lookup.find_version(MODEL, "champion", lambda version: Path(str(version.version)))
    assert (found.number, found.warnings) == ("1", ())
    assert registry.champion() == "1"
