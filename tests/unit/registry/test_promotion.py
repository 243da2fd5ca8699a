import pytest

from components.core.errors import LesionflowError
from components.registry.promotion import AUTOMATIC, OUTSIDE, ROLLBACK, Cause, _entry, previous, was_champion
from components.registry.promotion_record import REASON_LIMIT


def record(*moves: tuple[str | None, str]) -> list:
    made, before = [], None
    for after, source in moves:
        made.append(_entry("m", before, after, Cause(source, "passed", who="someone")))
        before = after
    return made


@pytest.mark.parametrize(
    ("moves", "target"),
    [
        ([], None),
        ([("1", AUTOMATIC)], None),
        ([("1", AUTOMATIC), ("2", AUTOMATIC)], "1"),
        ([("1", AUTOMATIC), ("2", AUTOMATIC), ("3", OUTSIDE), ("2", ROLLBACK)], "1"),
        ([("1", AUTOMATIC), ("2", AUTOMATIC), ("1", ROLLBACK)], None),
        ([("1", AUTOMATIC), ("2", AUTOMATIC), ("1", ROLLBACK), ("3", AUTOMATIC)], "1"),
        ([("1", AUTOMATIC), ("2", AUTOMATIC), ("1", OUTSIDE)], "2"),
        ([("1", AUTOMATIC), ("2", AUTOMATIC), (None, OUTSIDE)], "2"),
        ([("1", AUTOMATIC), (None, OUTSIDE), ("1", ROLLBACK)], None),
        ([("1", AUTOMATIC), (None, OUTSIDE), ("3", AUTOMATIC)], "1"),
    ],
)
def test_promotions_push_and_rollbacks_pop(moves, target):
    assert previous(record(*moves)) == target


def test_a_version_that_was_champion_is_known():
    entries = record(("1", AUTOMATIC), ("2", AUTOMATIC), ("1", ROLLBACK))
    assert was_champion(entries, "2")
    assert not was_champion(entries, "3")


def test_a_reason_that_would_be_cut_is_refused():
    with pytest.raises(LesionflowError, match="say it shorter"):
        _entry("m", None, "1", Cause(AUTOMATIC, "passed", "x" * (REASON_LIMIT + 1), "someone"))
