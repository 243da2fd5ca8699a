"""Moves of the alias `champion`, each of them in the promotion record, by whatever means it was moved."""

import getpass
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from components.core.errors import LesionflowError
from components.core.reports.registration import Promotion
from components.registry import promotion_record, version_tags, versions
from components.registry.promotion_record import Ledger, Overtaken

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

AUTOMATIC = "gate"
BY_HAND = "promote"
OVERRIDE = "override"
ROLLBACK = "rollback"
OUTSIDE = "moved outside the gate"


@dataclass(frozen=True)
class Cause:
    """What moves champion: AUTOMATIC, BY_HAND, OVERRIDE, ROLLBACK or OUTSIDE; the gate's verdict, in a line; a person's reason, of at
    most `promotion_record.REASON_LIMIT` characters; and who it is, without a name the user of this process."""

    source: str
    verdict: str
    reason: str = ""
    who: str = ""


@dataclass(frozen=True)
class Standing:
    """Who is champion, and the record that says so; `noticed` is the move outside the gate that this look appended, if any."""

    model: str
    record: Ledger | None
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


def look(client: "MlflowClient", model: str) -> Standing:
    """Read the record, finish a move that a killed process left half done, and append a move that a person made in MLflow's page.

    The record is read before the alias, and every move but a person's is written to the record before the alias follows:
    so an alias that differs was moved by a person, or somebody wrote to the record meanwhile, and then we look again.
    """
    while True:
        run_id = promotion_record.locate(client, model)
        if run_id is None:
            return Standing(model, None, None, None)
        record = promotion_record.read(client, run_id)
        if not record.settled:
            record = _follow(client, model, record)
        champion = versions.alias(client, model, versions.CHAMPION)
        if _number(champion) == record.champion:
            return Standing(model, record, champion, None)
        verdict = version_tags.verdict(champion) if champion is not None else "no version"
        cause = Cause(OUTSIDE, verdict, who=f"unknown, noticed by {getpass.getuser()}")
        entry = _entry(model, record.champion, _number(champion), cause, _evidence(champion))
        try:
            record = promotion_record.settle(client, promotion_record.append(client, record, entry))
        except Overtaken:
            continue
        return Standing(model, record, champion, entry)


def move(client: "MlflowClient", standing: Standing, version: str, cause: Cause) -> Promotion:
    """Make a version champion: write the claim to the record, then let the alias follow.

    Args:
        client: of the store.
        standing: what `look` found, and the decision was made on.
        version: the new champion, another than the present one.
        cause: what moves it.

    Raises:
        Overtaken: champion moved since `standing`; nothing was changed.
    """
    if standing.record is None:
        raise ValueError(f"{standing.model} has no record: it is not registered")
    evidence = _evidence(versions.find(client, standing.model, version))
    entry = _entry(standing.model, standing.number, version, cause, evidence)
    _follow(client, standing.model, promotion_record.append(client, standing.record, entry))
    now = look(client, standing.model)
    if now.noticed is not None:  # a person moved it in MLflow's page while we did: theirs stands
        raise Overtaken(now.noticed)
    return entry


def _follow(client: "MlflowClient", model: str, record: Ledger) -> Ledger:
    """Let the alias follow the record's last entry, unless a person has moved it elsewhere; whoever comes second changes nothing."""
    from mlflow.exceptions import MlflowException

    while True:
        entry = record.entries[-1]
        if entry.after is not None and _number(versions.alias(client, model, versions.CHAMPION)) == entry.before:
            try:
                client.set_registered_model_alias(model, versions.CHAMPION, entry.after)
            except MlflowException as fault:  # that version was deleted meanwhile: the alias stays, and `look` says so
                if fault.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
        done = promotion_record.settle(client, record)
        record = promotion_record.read(client, record.run_id)
        if len(record.entries) == len(done.entries):
            return done


def was_champion(entries: Sequence[Promotion], version: str) -> bool:
    """Whether a version has been champion: one that was replaced comes back by a person's hand alone."""
    return any(entry.after == version for entry in entries)


def passed_the_gate(entries: Sequence[Promotion], version: str) -> bool:
    """Whether a version has become champion through the gate, not past it."""
    return any(entry.after == version and entry.source in (AUTOMATIC, BY_HAND) for entry in entries)


def evidence_of(entries: Sequence[Promotion], version: str) -> str | None:
    """The sha256 of a version's evidence when it first became champion; None where no entry holds one."""
    return next((entry.evidence for entry in entries if entry.after == version and entry.evidence), None)


def previous(entries: Sequence[Promotion]) -> str | None:
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


def warning(noticed: Promotion) -> str:
    """What a person should know of a move outside the gate, in a line."""
    move = f"champion was moved outside the gate, from {_named(noticed.before)} to {_named(noticed.after)}"
    said = {"passed": "which had passed the gate", version_tags.NEVER_JUDGED: "which the gate NEVER JUDGED"}
    verdict = said.get(noticed.verdict, f"which FAILED the gate ({noticed.verdict})") if noticed.after else "so nothing serves"
    return f"{move}, {verdict}: noted in the promotion record"


def _named(version: str | None) -> str:
    return f"version {version}" if version else "none"


def _number(version: "ModelVersion | None") -> str | None:
    return str(version.version) if version is not None else None


def _evidence(version: "ModelVersion | None") -> str | None:
    return version.tags.get(versions.EVIDENCE_TAG) if version is not None else None


def _entry(model: str, before: str | None, after: str | None, cause: Cause, evidence: str | None = None) -> Promotion:
    reason, who = cause.reason, cause.who or getpass.getuser()
    if len(reason) > promotion_record.REASON_LIMIT:
        raise LesionflowError(f"the reason has {len(reason)} characters, at most {promotion_record.REASON_LIMIT} are kept: say it shorter")
    when = datetime.now(UTC).isoformat(timespec="seconds")
    return Promotion(model, before, after, cause.source, reason.strip(), cause.verdict, when, who, promotion_record.nonce(), evidence)
