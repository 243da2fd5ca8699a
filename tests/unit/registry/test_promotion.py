import pytest

from components.core.errors import LesionflowError
from components.registry.promotion import AUTOMATIC, EXTERNAL, ROLLBACK, Cause, _promotion_entry, rollback_target, was_champion
from components.registry.promotion_record import REASON_LIMIT


def record(*moves: tuple[str | None, str]) -> list:
    entries, before = [], None
    for after, source in moves:
        entries.append(_promotion_entry("m", before, after, Cause(source, "passed", who="someone")))
        before = after
    return entries


@pytest.mark.parametrize(
    ("moves", "target"),
    [
        ([], None),
        ([("1", AUTOMATIC)], None),
        ([("1", AUTOMATIC), ("2", AUTOMATIC)], "1"),
        ([("1", AUTOMATIC), ("2", AUTOMATIC), ("3", EXTERNAL), ("2", ROLLBACK)], "1"),
        ([("1", AUTOMATIC), ("2", AUTOMATIC), ("1", ROLLBACK)], None),
        ([("1", AUTOMATIC), ("2", AUTOMATIC), ("1", ROLLBACK), ("3", AUTOMATIC)], "1"),
        ([("1", AUTOMATIC), ("2", AUTOMATIC), ("1", EXTERNAL)], "2"),
        ([("1", AUTOMATIC), ("2", AUTOMATIC), (None, EXTERNAL)], "2"),
        ([("1", AUTOMATIC), (None, EXTERNAL), ("1", ROLLBACK)], None),
        ([("1", AUTOMATIC), (None, EXTERNAL), ("3", AUTOMATIC)], "1"),
    ],
)
def test_rollback_target_treats_promotions_as_stack(moves, target):
    assert rollback_target(record(*moves)) == target


def test_was_champion_finds_former_champion():
    entries = record(("1", AUTOMATIC), ("2", AUTOMATIC), ("1", ROLLBACK))
    assert was_champion(entries, "2")
    assert not was_champion(entries, "3")


def test_too_long_reason_is_refused():
    with pytest.raises(LesionflowError, match="say it shorter"):
        _promotion_entry("m", None, "1", Cause(AUTOMATIC, "passed", "x" * (REASON_LIMIT + 1), "someone"))
