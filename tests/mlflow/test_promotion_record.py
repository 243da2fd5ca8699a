import json
import multiprocessing
from dataclasses import asdict, replace

import pytest

from components.core.errors import LesionflowError
from components.registry import promotion, promotion_record
from components.registry.promotion_record import ConcurrentPromotionError
from components.tracking import store
from tests.mlflow.conftest import MODEL

WRITERS, TURNS = 5, 6


def entry(after: str, before: str | None = None) -> promotion_record.Promotion:
    return promotion._promotion_entry(MODEL, before, after, promotion.Cause(promotion.MANUAL, "passed", who="someone"))


def write_by_turns(writer: int, start, results) -> None:
    """Append TURNS entries, each as often as it takes, and say which were written and how often another came first."""
    client = store.connect()
    start.wait()
    written, lost = [], 0
    while len(written) < TURNS:
        stands = promotion_record.load_record(client, promotion_record.find_record(client, MODEL))
        mine = entry(f"{writer}")
        try:
            if not stands.settled:
                stands = promotion_record.mark_alias_moved(client, stands)
            promotion_record.append_entry(client, stands, mine)
            written.append(mine.nonce)
        except ConcurrentPromotionError:
            lost += 1
    results.put((written, lost))


def promote_at_once(version: str, start, results) -> None:
    client = store.connect()
    state = promotion.read_champion_state(client, MODEL)
    start.wait()
    try:
        promotion.move_champion(client, state, version, promotion.Cause(promotion.MANUAL, "passed"))
        results.put((version, None))
    except ConcurrentPromotionError as fault:
        results.put((version, str(fault)))


def first_version(start, results) -> None:
    from components.registry import versions

    client = store.connect()
    start.wait()
    version = versions.create_version(client, MODEL, "runs:/x/model", "", {})
    results.put((version.version, promotion_record.find_record(client, MODEL)))


def together(target, arguments: list[tuple]) -> list:
    """What each process put into the queue, all started from one barrier."""
    spawn = multiprocessing.get_context("spawn")
    start, results = spawn.Barrier(len(arguments)), spawn.Queue()
    processes = [spawn.Process(target=target, args=(*args, start, results)) for args in arguments]
    for process in processes:
        process.start()
    found = [results.get(timeout=200) for _ in processes]
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    return found


def test_entries_of_many_writers_have_no_gap_and_none_is_lost(lab):
    lab.version()
    found = together(write_by_turns, [(number,) for number in range(WRITERS)])
    run_id = promotion_record.find_record(lab.client, MODEL)
    entries = promotion_record.load_record(lab.client, run_id).entries
    assert len(entries) == WRITERS * TURNS
    assert {row.nonce for row in entries} == {nonce for written, _ in found for nonce in written}
    assert sum(lost for _, lost in found) > 0, "no writer ever came second: the test was no race"


def test_of_two_promotions_at_once_one_wins_and_the_other_is_told(lab):
    lab.version()
    lab.move(lab.version())
    rivals = [lab.version(), lab.version()]
    before = len(lab.look().entries)
    found = dict(together(promote_at_once, [(rival,) for rival in rivals]))
    winner = next(version for version, said in found.items() if said is None)
    loser = next(version for version in rivals if version != winner)
    assert found[loser] is not None
    assert f"moved to version {winner} meanwhile" in found[loser]
    assert "`lesionflow champion show`" in found[loser]
    assert lab.champion() == winner
    entries = lab.look().entries
    assert [row.after for row in entries[before:]] == [winner]


def test_two_first_registrations_share_one_record(lab):
    found = together(first_version, [(), ()])
    assert sorted(int(number) for number, _ in found) == [1, 2]
    assert {run_id for _, run_id in found} == {lab.client.get_registered_model(MODEL).tags[promotion_record.RUN_TAG]}


def test_an_entry_cannot_be_written_over(lab):
    lab.version()
    empty = promotion_record.load_record(lab.client, promotion_record.find_record(lab.client, MODEL))
    first = promotion_record.append_entry(lab.client, empty, entry("1"))
    with pytest.raises(ConcurrentPromotionError):
        promotion_record.append_entry(lab.client, empty, entry("1"))
    assert promotion_record.load_record(lab.client, empty.run_id) == first


def test_writing_the_same_entry_again_is_no_defeat(lab):
    lab.version()
    empty = promotion_record.load_record(lab.client, promotion_record.find_record(lab.client, MODEL))
    mine = entry("1")
    promotion_record.append_entry(lab.client, empty, mine)
    assert promotion_record.append_entry(lab.client, empty, mine).entries == (mine,)


def test_a_record_whose_run_was_deleted_or_whose_tag_was_removed_is_found_again(lab):
    lab.version()
    lab.move("1")
    run_id = promotion_record.find_record(lab.client, MODEL)
    lab.client.delete_registered_model_tag(MODEL, promotion_record.RUN_TAG)
    assert promotion_record.find_record(lab.client, MODEL) == run_id
    lab.client.delete_run(run_id)
    assert [row.after for row in lab.look().entries] == ["1"]


def test_a_record_that_other_hands_wrote_into_is_refused(lab):
    lab.version()
    run_id = promotion_record.find_record(lab.client, MODEL)
    lab.client.log_param(run_id, "0002", "{}")
    with pytest.raises(LesionflowError, match="has gaps"):
        promotion_record.load_record(lab.client, run_id)
    lab.client.log_param(run_id, "0001", "{}")
    with pytest.raises(LesionflowError, match="did not write"):
        promotion_record.load_record(lab.client, run_id)


def test_the_record_can_be_read_in_mlflows_page(lab):
    lab.version()
    promotion.move_champion(
        lab.client, lab.look(), "1", promotion.Cause(promotion.OVERRIDE, "failed: export agrees", "the only one | we have")
    )
    note = lab.client.get_run(promotion_record.find_record(lab.client, MODEL)).data.tags[promotion_record.NOTE_TAG]
    assert "| none | 1 | override | failed: export agrees |" in note
    assert "the only one \\| we have" in note


def test_a_long_record_still_fits_a_tag():
    longest = replace(entry("123"), reason="x" * 1000, verdict="failed: " + ", ".join(["melanoma sensitivity floor"] * 2))
    assert len(promotion_record.markdown([longest] * 500)) < 8000
    assert len(promotion_record.markdown([replace(longest, reason="<&|" * 300)] * 500)) < 8000


def test_what_a_person_writes_stands_for_itself_in_the_record(lab, run_cli):
    lab.version()
    reason = "see [/wiki/42] <img src=x onerror=alert(1)> *now*"
    entry = promotion.move_champion(lab.client, lab.look(), "1", promotion.Cause(promotion.OVERRIDE, "failed: export agrees", reason))
    note = lab.client.get_run(promotion_record.find_record(lab.client, MODEL)).data.tags[promotion_record.NOTE_TAG]
    assert r"see \[/wiki/42\] &lt;img src=x onerror=alert(1)&gt; \*now\*" in note
    assert (
        promotion_record.load_record(lab.client, promotion_record.find_record(lab.client, MODEL)).entries[-1].reason
        == entry.reason
        == reason
    )
    shown = run_cli("champion", "history")
    assert shown.exit_code == 0
    assert "[/wiki/42]" in shown.stdout


def test_entries_written_before_evidence_was_recorded_are_still_read(lab):
    lab.version()
    run_id = promotion_record.find_record(lab.client, MODEL)
    old = {name: value for name, value in asdict(entry("1")).items() if name != "evidence"}
    lab.client.log_param(run_id, "0001", json.dumps(old))
    assert promotion_record.load_record(lab.client, run_id).entries[0].evidence is None
