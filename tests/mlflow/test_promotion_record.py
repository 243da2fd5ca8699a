import json
import multiprocessing
from dataclasses import asdict, replace

import pytest

from components.core.errors import LesionflowError
from components.registry import promotion, promotion_record
from components.registry.promotion_record import ConcurrentPromotionError
from components.tracking import store
from tests.mlflow.conftest import MODEL

WRITERS, ENTRIES_PER_WRITER = 3, 6


def entry(after: str, before: str | None = None) -> promotion_record.Promotion:
    return promotion._promotion_entry(MODEL, before, after, promotion.Cause(promotion.MANUAL, "passed", who="someone"))


def append_entries(writer: int, start, results) -> None:
    """Append ENTRIES_PER_WRITER entries with retries; report their nonces and the number of conflicts."""
    client = store.connect()
    start.wait()
    written, conflicts = [], 0
    while len(written) < ENTRIES_PER_WRITER:
        record = promotion_record.load_record(client, promotion_record.find_record(client, MODEL))
        own_entry = entry(f"{writer}")
        try:
            if not record.settled:
                record = promotion_record.mark_alias_moved(client, record)
            promotion_record.append_entry(client, record, own_entry)
            written.append(own_entry.nonce)
        except ConcurrentPromotionError:
            conflicts += 1
    results.put((written, conflicts))


def promote_concurrently(version: str, start, results) -> None:
    client = store.connect()
    state = promotion.read_champion_state(client, MODEL)
    start.wait()
    try:
        promotion.move_champion(client, state, version, promotion.Cause(promotion.MANUAL, "passed"))
        results.put((version, None))
    except ConcurrentPromotionError as error:
        results.put((version, str(error)))


def register_first_version(start, results) -> None:
    from components.registry import versions

    client = store.connect()
    start.wait()
    version = versions.create_version(client, MODEL, "runs:/x/model", "", {})
    results.put((version.version, promotion_record.find_record(client, MODEL)))


def run_concurrently(target, arguments: list[tuple]) -> list:
    """Start one process per tuple of arguments at a barrier; return the result of each process."""
    spawn = multiprocessing.get_context("spawn")
    start, results = spawn.Barrier(len(arguments)), spawn.Queue()
    processes = [spawn.Process(target=target, args=(*args, start, results)) for args in arguments]
    for process in processes:
        process.start()
    results_of_processes = [results.get(timeout=200) for _ in processes]
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    return results_of_processes


def test_concurrent_writers_lose_no_entry(registry):
    registry.register_version()
    results_of_processes = run_concurrently(append_entries, [(number,) for number in range(WRITERS)])
    run_id = promotion_record.find_record(registry.client, MODEL)
    entries = promotion_record.load_record(registry.client, run_id).entries
    assert len(entries) == WRITERS * ENTRIES_PER_WRITER
    assert {row.nonce for row in entries} == {nonce for written, _ in results_of_processes for nonce in written}
    assert sum(conflicts for _, conflicts in results_of_processes) > 0, "no conflict occurred, so the writers did not run concurrently"


def test_one_of_two_concurrent_promotions_fails_with_message(registry):
    registry.register_version()
    registry.move_champion(registry.register_version())
    candidates = [registry.register_version(), registry.register_version()]
    before = len(registry.champion_state().entries)
    results_of_processes = dict(run_concurrently(promote_concurrently, [(candidate,) for candidate in candidates]))
    winner = next(version for version, message in results_of_processes.items() if message is None)
    loser = next(version for version in candidates if version != winner)
    assert results_of_processes[loser] is not None
    assert f"moved to version {winner} meanwhile" in results_of_processes[loser]
    assert "`lesionflow champion show`" in results_of_processes[loser]
    assert registry.champion() == winner
    entries = registry.champion_state().entries
    assert [row.after for row in entries[before:]] == [winner]


def test_concurrent_first_registrations_share_one_record(registry):
    results_of_processes = run_concurrently(register_first_version, [(), ()])
    assert sorted(int(number) for number, _ in results_of_processes) == [1, 2]
    assert {run_id for _, run_id in results_of_processes} == {registry.client.get_registered_model(MODEL).tags[promotion_record.RUN_TAG]}


def test_entry_cannot_be_overwritten(registry):
    registry.register_version()
    empty = promotion_record.load_record(registry.client, promotion_record.find_record(registry.client, MODEL))
    first = promotion_record.append_entry(registry.client, empty, entry("1"))
    with pytest.raises(ConcurrentPromotionError):
        promotion_record.append_entry(registry.client, empty, entry("1"))
    assert promotion_record.load_record(registry.client, empty.run_id) == first


def test_appending_same_entry_twice_succeeds(registry):
    registry.register_version()
    empty = promotion_record.load_record(registry.client, promotion_record.find_record(registry.client, MODEL))
    own_entry = entry("1")
    promotion_record.append_entry(registry.client, empty, own_entry)
    assert promotion_record.append_entry(registry.client, empty, own_entry).entries == (own_entry,)


def test_record_is_found_after_tag_or_run_was_deleted(registry):
    registry.register_version()
    registry.move_champion("1")
    run_id = promotion_record.find_record(registry.client, MODEL)
    registry.client.delete_registered_model_tag(MODEL, promotion_record.RUN_TAG)
    assert promotion_record.find_record(registry.client, MODEL) == run_id
    registry.client.delete_run(run_id)
    assert [row.after for row in registry.champion_state().entries] == ["1"]


def test_record_with_foreign_entries_is_refused(registry):
    registry.register_version()
    run_id = promotion_record.find_record(registry.client, MODEL)
    registry.client.log_param(run_id, "0002", "{}")
    with pytest.raises(LesionflowError, match="has gaps"):
        promotion_record.load_record(registry.client, run_id)
    registry.client.log_param(run_id, "0001", "{}")
    with pytest.raises(LesionflowError, match="did not write"):
        promotion_record.load_record(registry.client, run_id)


def test_record_is_readable_in_mlflow_ui(registry):
    registry.register_version()
    promotion.move_champion(
        registry.client,
        registry.champion_state(),
        "1",
        promotion.Cause(promotion.OVERRIDE, "failed: export agrees", "the only one | we have"),
    )
    note = registry.client.get_run(promotion_record.find_record(registry.client, MODEL)).data.tags[promotion_record.NOTE_TAG]
    assert "| none | 1 | override | failed: export agrees |" in note
    assert "the only one \\| we have" in note


def test_note_of_long_record_fits_in_tag():
    longest = replace(entry("123"), reason="x" * 1000, verdict="failed: " + ", ".join(["melanoma sensitivity floor"] * 2))
    assert len(promotion_record.markdown([longest] * 500)) < 8000
    assert len(promotion_record.markdown([replace(longest, reason="<&|" * 300)] * 500)) < 8000


def test_reason_is_escaped_in_note_and_kept_in_record(registry, run_cli):
    registry.register_version()
    reason = "see [/wiki/42] <img src=x onerror=alert(1)> *now*"
    entry = promotion.move_champion(
        registry.client, registry.champion_state(), "1", promotion.Cause(promotion.OVERRIDE, "failed: export agrees", reason)
    )
    note = registry.client.get_run(promotion_record.find_record(registry.client, MODEL)).data.tags[promotion_record.NOTE_TAG]
    assert r"see \[/wiki/42\] &lt;img src=x onerror=alert(1)&gt; \*now\*" in note
    assert (
        promotion_record.load_record(registry.client, promotion_record.find_record(registry.client, MODEL)).entries[-1].reason
        == entry.reason
        == reason
    )
    shown = run_cli("champion", "history")
    assert shown.exit_code == 0
    assert "[/wiki/42]" in shown.stdout


def test_entry_without_evidence_field_is_read(registry):
    registry.register_version()
    run_id = promotion_record.find_record(registry.client, MODEL)
    old = {name: value for name, value in asdict(entry("1")).items() if name != "evidence"}
    registry.client.log_param(run_id, "0001", json.dumps(old))
    assert promotion_record.load_record(registry.client, run_id).entries[0].evidence is None
