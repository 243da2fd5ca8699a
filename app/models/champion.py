"""Who is champion, how it became so, and how a person changes it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from app.console import render_table
from components.core.errors import LesionflowError
from components.core.escaping import for_terminal
from components.core.reports.registration import Promotion, Rule
from components.registry import evidence, gate, judgement, promotion, version_tags, versions
from components.registry.promotion import ChampionState
from components.runtime import params_file
from components.tracking import store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

REGISTRY_ERROR = "MLflow's registry did not answer"


@dataclass(frozen=True)
class PromotionResult:
    """What came of a person's command: `promotion` is None where nothing changed, `rules` empty where none were applied."""

    model: str
    version: str
    rules: list[Rule]
    promotion: Promotion | None
    warnings: list[str]


def load_champion_state() -> "tuple[MlflowClient, ChampionState]":
    """Connect, and see who is champion of the registered model that params.yaml names."""
    model = params_file.load().registration.registered_model
    client = store.connect()
    with store.mlflow_errors(REGISTRY_ERROR):
        return client, promotion.read_champion_state(client, model)


def state_warnings(state: ChampionState) -> list[str]:
    """What a person should know before anything else."""
    return [promotion.external_move_warning(state.noticed)] if state.noticed else []


def promote(requested_version: str, override: str | None) -> PromotionResult:
    """Make a version champion, if the gate passes it now or a person says why it should be all the same.

    Raises:
        LesionflowError: no such version; a blank reason; no evidence to judge by; or champion moved meanwhile.
    """
    _reason(override, "--override")
    params = params_file.load()
    client, state = load_champion_state()
    with store.mlflow_errors(REGISTRY_ERROR):
        version = existing_version(client, state.model, requested_version)
        number, warnings = str(version.version), state_warnings(state)
        if number == state.number:
            return PromotionResult(state.model, number, [], None, warnings)
        rules: list[Rule] = []
        try:
            recorded = evidence.load_evidence(client, version, promotion.evidence_of(state.entries, number))
            rules = judgement.judge_version(client, recorded, number, state, params)
        except LesionflowError as fault:
            if override is None:
                raise
            warnings.append(f"the gate could not judge version {number}: {fault}")
        if rules:
            versions.tag_verdict(client, state.model, number, versions.Verdict(rules, state.number))
        passed = bool(rules) and gate.passed(rules)
        if not passed and override is None:
            return PromotionResult(state.model, number, rules, None, warnings)
        verdict = gate.verdict(rules) if rules else version_tags.NEVER_JUDGED
        source = promotion.MANUAL if passed else promotion.OVERRIDE
        entry = promotion.move_champion(client, state, number, promotion.Cause(source, verdict, override or ""))
    return PromotionResult(state.model, number, rules, entry, warnings)


def rollback(reason: str | None) -> PromotionResult:
    """Return to the champion before; again, and it goes one further back. The gate is not applied.

    Raises:
        LesionflowError: there was none before, its version was deleted, its evidence was changed, or champion moved meanwhile.
    """
    _reason(reason, "--reason")
    client, state = load_champion_state()
    target = promotion.rollback_target(state.entries)
    if target is None:
        raise LesionflowError(f"{state.model} has had no champion before {_named(state.number)}: there is nothing to roll back to")
    with store.mlflow_errors(REGISTRY_ERROR):
        version = versions.find_version(client, state.model, target)
        if version is None:
            raise LesionflowError(
                f"the champion before was version {target}, which was deleted: name another with `lesionflow champion promote VERSION`"
                f" ({_listed(client, state.model)})"
            )
        verdict, warnings = version_tags.gate_verdict(version), state_warnings(state)
        try:
            evidence.load_evidence(client, version, promotion.evidence_of(state.entries, target))
        except evidence.EvidenceChanged as fault:
            raise LesionflowError(f"{fault}; or `lesionflow champion promote VERSION --override REASON`") from None
        except LesionflowError as fault:
            warnings.append(f"version {target} has no evidence to verify it by: {fault}")
        entry = promotion.move_champion(client, state, target, promotion.Cause(promotion.ROLLBACK, verdict, reason or ""))
    if verdict != "passed":
        warnings.append(f"the gate's last verdict on version {target}: {verdict}")
    return PromotionResult(state.model, target, [], entry, warnings)


def existing_version(client: "MlflowClient", model: str, requested_version: str) -> "ModelVersion":
    """The version that a number or an alias names.

    Raises:
        LesionflowError: there is none; lists those there are.
    """
    version = versions.find_version(client, model, requested_version)
    if version is None:
        what = f"version {requested_version}" if requested_version.isdigit() else f"version or alias {requested_version!r}"
        raise LesionflowError(f"{model} has no {what} ({_listed(client, model)})")
    return version


def _listed(client: "MlflowClient", model: str) -> str:
    numbers = sorted(int(version.version) for version in client.search_model_versions(f"name = '{model}'"))
    return f"versions: {', '.join(map(str, numbers))}" if numbers else f"it has no versions: {versions.HOW_TO_REGISTER}"


def _reason(text: str | None, option: str) -> None:
    if text is not None and not text.strip():
        raise LesionflowError(f"{option} wants a reason that says something: it is kept in the promotion record")


def _named(number: str | None) -> str:
    return f"version {number}" if number else "now"


def as_json(document: Any) -> str:
    """The one JSON document of a command, from a model, a dataclass or a sequence of them."""
    return json.dumps(document, indent=2, allow_nan=False, default=_as_dict)


def _as_dict(value: Any) -> dict[str, object]:
    return value.model_dump() if isinstance(value, BaseModel) else asdict(value)


def history_table(model: str, entries: Sequence[Promotion]) -> str:
    """The promotion record for a person, oldest first."""
    if not entries:
        return f"{model} has had no champion"
    from rich.table import Table

    table = Table(title=f"champions of {model}", title_justify="left", show_edge=False)
    for name in ("#", "when (UTC)", "from", "to", "by", "gate", "who", "reason"):
        table.add_column(name, overflow="fold")
    for number, row in enumerate(entries, 1):
        when, texts = row.when[:19].replace("T", " "), (row.source, row.verdict, row.who, row.reason or "-")
        table.add_row(str(number), when, row.before or "none", row.after or "none", *map(for_terminal, texts))
    return render_table(table)
