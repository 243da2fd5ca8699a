"""Moves of the alias `champion`, each of them in the promotion record, by whatever means it was moved."""

import getpass
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from components.core.errors import LesionflowError
from components.core.reports.registration import Promotion
from components.registry import promotion_record, version_tags, versions
from components.registry.promotion_record import ConcurrentPromotionError, PromotionRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

AUTOMATIC = "gate"
MANUAL = "promote"
OVERRIDE = "override"
ROLLBACK = "rollback"
EXTERNAL = "moved outside the gate"


@dataclass(frozen=True)
class Cause:
    """What moves champion: AUTOMATIC, MANUAL, OVERRIDE, ROLLBACK or EXTERNAL; the gate's verdict, in a line; a person's reason, of at
    most `promotion_record.REASON_LIMIT` characters; and who it is, without a name the user of this process."""

    source: str
    verdict: str
    reason: str = ""
    who: str = ""


@dataclass(frozen=True)
class ChampionState:
    """Who is champion, and the record that says so; `noticed` is the move outside the gate that this call appended, if any."""

    model: str
    record: PromotionRecord | None
    champion: "ModelVersion | None"
    noticed: Promotion | None

    @property
    def entries(self) -> tuple[Promotion, ...]:
        """The record, oldest first."""
        return self.record.entries if self.record else ()

    @property
    def number(self) -> str | None:
        """The champion's version number."""
        return _number(self.champion)


def read_champion_state(client: "MlflowClient", model: str) -> ChampionState:
    """Read the record, finish a move that a killed process left half done, and append a move that a person made in MLflow's page.

    The record is read before the alias, and every move but a person's is written to the record before the alias follows:
    so an alias that differs was moved by a person, or somebody wrote to the record meanwhile, and then we look again.
    """
    while True:
        run_id = promotion_record.find_record(client, model)
        if run_id is None:
            return ChampionState(model, None, None, None)
        record = promotion_record.load_record(client, run_id)
        if not record.settled:
            record = _complete_move(client, model, record)
        champion = versions.version_by_alias(client, model, versions.CHAMPION)
        if _number(champion) == record.champion:
            return ChampionState(model, record, champion, None)
        entry = _external_move(model, record, champion)
        try:
            record = promotion_record.mark_alias_moved(client, promotion_record.append_entry(client, record, entry))
        except ConcurrentPromotionError:
            continue
        return ChampionState(model, record, champion, entry)


def unrecorded_move(client: "MlflowClient", model: str) -> Promotion | None:
    """The move outside the gate that `read_champion_state` would append to the record, without writing anything; None if there is none,
    or if a move is under way."""
    run_id = promotion_record.find_record(client, model)
    if run_id is None:
        return None
    record = promotion_record.load_record(client, run_id)
    champion = versions.version_by_alias(client, model, versions.CHAMPION)
    if not record.settled or _number(champion) == record.champion:
        return None
    return _external_move(model, record, champion)


def move_champion(client: "MlflowClient", state: ChampionState, version: str, cause: Cause) -> Promotion:
    """Make a version champion: write the claim to the record, then let the alias follow.

    Args:
        client: of the store.
        state: what `read_champion_state` found, and the decision was made on.
        version: the new champion, another than the present one.
        cause: what moves it.

    Raises:
        ConcurrentPromotionError: champion moved since `state`; nothing was changed.
    """
    if state.record is None:
        raise ValueError(f"{state.model} has no record: it is not registered")
    evidence = _evidence(versions.find_version(client, state.model, version))
    entry = _promotion_entry(state.model, state.number, version, cause, evidence)
    _complete_move(client, state.model, promotion_record.append_entry(client, state.record, entry))
    now = read_champion_state(client, state.model)
    if now.noticed is not None:  # a person moved it in MLflow's page while we did: theirs stands
        raise ConcurrentPromotionError(now.noticed)
    return entry


def _complete_move(client: "MlflowClient", model: str, record: PromotionRecord) -> PromotionRecord:
    """Let the alias follow the record's last entry, unless a person has moved it elsewhere; whoever comes second changes nothing."""
    from mlflow.exceptions import MlflowException

    while True:
        entry = record.entries[-1]
        if entry.after is not None and _number(versions.version_by_alias(client, model, versions.CHAMPION)) == entry.before:
            try:
                client.set_registered_model_alias(model, versions.CHAMPION, entry.after)
            except MlflowException as fault:  # that version was deleted meanwhile: the alias stays, and `read_champion_state` says so
                if fault.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
        done = promotion_record.mark_alias_moved(client, record)
        record = promotion_record.load_record(client, record.run_id)
        if len(record.entries) == len(done.entries):
            return done


def was_champion(entries: Sequence[Promotion], version: str) -> bool:
    """Whether a version has been champion: one that was replaced comes back by a person's hand alone."""
    return any(entry.after == version for entry in entries)


def passed_the_gate(entries: Sequence[Promotion], version: str) -> bool:
    """Whether a version has become champion through the gate, not past it."""
    return any(entry.after == version and entry.source in (AUTOMATIC, MANUAL) for entry in entries)


def evidence_of(entries: Sequence[Promotion], version: str) -> str | None:
    """The sha256 of a version's evidence when it first became champion; None where no entry holds one."""
    return next((entry.evidence for entry in entries if entry.after == version and entry.evidence), None)


def rollback_target(entries: Sequence[Promotion]) -> str | None:
    """The version that a rollback returns to, or None: promotions push, rollbacks pop.

    So a second rollback goes one further back. With no champion (the alias was removed) it returns to the last one.
    """
    stack: list[str] = []
    for entry in entries:
        if entry.source == ROLLBACK and entry.after in stack:
            while stack[-1] != entry.after:
                stack.pop()
        elif entry.after is not None and stack[-1:] != [entry.after]:
            stack.append(entry.after)
    if entries and entries[-1].after is None:
        return stack[-1] if stack else None
    return stack[-2] if len(stack) > 1 else None


def _external_move(model: str, record: PromotionRecord, champion: "ModelVersion | None") -> Promotion:
    """The entry for a move that a person made in MLflow's page."""
    verdict = version_tags.gate_verdict(champion) if champion is not None else "no version"
    cause = Cause(EXTERNAL, verdict, who=f"unknown, noticed by {getpass.getuser()}")
    return _promotion_entry(model, record.champion, _number(champion), cause, _evidence(champion))


def external_move_warning(noticed: Promotion) -> str:
    """What a person should know of a move outside the gate that is in the record, in a line."""
    return f"{_described(noticed)}: noted in the promotion record"


def unrecorded_move_warning(moved: Promotion) -> str:
    """What a person should know of a move outside the gate that is not in the record yet, in a line."""
    return f"{_described(moved)}: `lesionflow champion show` notes it in the promotion record"


def _described(noticed: Promotion) -> str:
    move = f"champion was moved outside the gate, from {_named(noticed.before)} to {_named(noticed.after)}"
    said = {"passed": "which had passed the gate", version_tags.NEVER_JUDGED: "which the gate NEVER JUDGED"}
    verdict = said.get(noticed.verdict, f"which FAILED the gate ({noticed.verdict})") if noticed.after else "so nothing serves"
    return f"{move}, {verdict}"


def _named(version: str | None) -> str:
    return f"version {version}" if version else "none"


def _number(version: "ModelVersion | None") -> str | None:
    return str(version.version) if version is not None else None


def _evidence(version: "ModelVersion | None") -> str | None:
    return version.tags.get(versions.EVIDENCE_TAG) if version is not None else None


def _promotion_entry(model: str, before: str | None, after: str | None, cause: Cause, evidence: str | None = None) -> Promotion:
    reason, who = cause.reason, cause.who or getpass.getuser()
    if len(reason) > promotion_record.REASON_LIMIT:
        raise LesionflowError(f"the reason has {len(reason)} characters, at most {promotion_record.REASON_LIMIT} are kept: say it shorter")
    when = datetime.now(UTC).isoformat(timespec="seconds")
    return Promotion(model, before, after, cause.source, reason.strip(), cause.verdict, when, who, promotion_record.new_nonce(), evidence)
