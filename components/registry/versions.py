"""MLflow's model registry: versions with what they measured and the gate's verdict, and the aliases champion and challenger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from components.core.reports.registration import Rule
from components.registry import gate, promotion_record
from components.registry.model_card import MODEL_DESCRIPTION, version_description
from components.registry.version_tags import TAG_LIMIT

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


CHAMPION, CHALLENGER = "champion", "challenger"
EVIDENCE_TAG = "evidence.sha256"
"""Tag of a version that holds the sha256 of its evidence (evidence.py)."""
HOW_TO_REGISTER = (
    "`dvc repro` trains and registers one; where DVC finds every stage unchanged (the version is in another MLflow store),"
    " `dvc repro --force --single-item register` registers it here"
)


def version_by_alias(client: "MlflowClient", model: str, name: str) -> "ModelVersion | None":
    """The version an alias stands at, or None."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(model, name)
    except MlflowException as fault:
        if fault.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def find_version(client: "MlflowClient", model: str, wanted: str) -> "ModelVersion | None":
    """The version an alias or a version number names, or None."""
    if not wanted.isdigit():
        return version_by_alias(client, model, wanted)
    found = client.search_model_versions(f"name = '{model}' and version_number = {wanted}")
    return found[0] if found else None


def versions_tagged(client: "MlflowClient", model: str, tag: str, value: str) -> "list[ModelVersion]":
    """The versions whose tag has this value, the newest first."""
    found = client.search_model_versions(f"name = '{model}' and tags.`{tag}` = '{value}'")
    return sorted(found, key=lambda version: int(version.version), reverse=True)


def create_version(client: "MlflowClient", model: str, source: str, run_id: str, tags: Mapping[str, str]) -> "ModelVersion":
    """Register a logged model as a new version, with its tags from the first moment."""
    ensure_model(client, model)
    return client.create_model_version(model, source, run_id=run_id, tags=dict(tags), description=version_description(tags))


def ensure_model(client: "MlflowClient", model: str) -> None:
    """Make the registered model where it does not exist, together with the name of its promotion record.

    Of two processes that make it at once one succeeds, record and all.
    """
    from mlflow.exceptions import MlflowException

    if promotion_record.find_record(client, model) is None:
        run_id_of_record = promotion_record.create_record(client, model)
        try:
            client.create_registered_model(model, tags={promotion_record.RUN_TAG: run_id_of_record}, description=MODEL_DESCRIPTION)
        except MlflowException as fault:
            client.delete_run(run_id_of_record)
            if fault.error_code != "RESOURCE_ALREADY_EXISTS":
                raise


@dataclass(frozen=True)
class Verdict:
    """The gate's verdict on a version.

    `champion`: the version it was held against, or None. `overrides`: params that this run alone used, where it used any.
    """

    rules: Sequence[Rule]
    champion: str | None
    overrides: Sequence[str] = ()


def tag_verdict(client: "MlflowClient", model: str, version: str, verdict: Verdict) -> None:
    """Write the gate's verdict on a version in place of an earlier one: as a whole, a tag per rule, and in the description.

    Args:
        client: of the store.
        model: the registered model.
        version: what was judged.
        verdict: the gate's.
    """
    rules = verdict.rules
    now = {f"gate.{rule.name.replace(' ', '_')}": f"{'passed' if rule.passed else 'failed'}: {rule.says}"[:TAG_LIMIT] for rule in rules}
    now |= {"judged.at": datetime.now(UTC).isoformat(timespec="seconds"), "judged.against": verdict.champion or "none"}
    now["judged.overrides"] = ", ".join(verdict.overrides)[:TAG_LIMIT] or "none"
    now["gate"] = "passed" if gate.passed(rules) else "failed"
    before = dict(client.get_model_version(model, version).tags)
    for name in before.keys() - now.keys():
        if name.startswith("gate."):
            client.delete_model_version_tag(model, version, name)
    for name, value in now.items():
        client.set_model_version_tag(model, version, name, value)
    kept = {name: value for name, value in before.items() if not name.startswith("gate.")}
    client.update_model_version(model, version, description=version_description({**kept, **now}))
