import pytest

from components.core.errors import LesionflowError
from components.registry.promotion import AUTOMATIC, EXTERNAL, ROLLBACK, Cause, _promotion_entry, rollback_target, was_champion
from components.registry.promotion_record import REASON_LIMIT


def record(*moves: tuple[str | None, str]) -> list:
    made, before = [], None
    for after, source in moves:
        made.append(_promotion_entry("m", before, after, Cause(source, "passed", who="someone")))
        before = after
    return made


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
def test_promotions_push_and_rollbacks_pop(moves, target):
    assert rollback_target(record(*moves)) == target


def test_a_version_that_was_champion_is_known():
    entries = record(("1", AUTOMATIC), ("2", AUTOMATIC), ("1", ROLLBACK))
    assert was_champion(entries, "2")
    assert not was_champion(entries, "3")


def test_a_reason_that_would_be_cut_is_refused():
    with pytest.raises(LesionflowError, match="say it shorter"):
        _promotion_entry("m", None, "1", Cause(AUTOMATIC, "passed", "x" * (REASON_LIMIT + 1), "someone"))
