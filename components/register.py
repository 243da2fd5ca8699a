"""Register the candidate as a new version, set `challenger`, apply the gate, and perhaps move `champion`.

Reads build/candidate/, build/export/, build/splits.parquet and the reports. Writes reports/registration.json and MLflow's
registry. The same candidate with the same evaluation registered twice makes one version. A model that was champion before comes
back by a person's hand alone, so that no scheduled run undoes a rollback.
"""

import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from flatten_dict import flatten

from components.core.files import require_file, sha256
from components.core.paths import CANDIDATE, CATALOG, CURVES, EVALUATION, EVALUATION_PLOTS, EXPORT_REPORT, EXPORTED, REGISTRATION, REPORTS
from components.core.reports.candidate import Candidate
from components.core.reports.evaluation import Evaluation
from components.core.reports.export import ExportReport
from components.core.reports.registration import Promotion, Registration, Rule
from components.evaluation.predictions import HEADLINE_METRICS
from components.registry import evidence, gate, judgement, promotion, versions
from components.registry.evidence import Evidence
from components.registry.promotion import ChampionState
from components.registry.promotion_record import ConcurrentPromotionError
from components.registry.version_tags import TAG_LIMIT, metric_tags
from components.runtime.params import TRAINING_PARAMS, Settings
from components.runtime.params_file import load
from components.runtime.stage import run
from components.serving import logged_model
from components.tracking import provenance, runs, store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CURVES_OF = {"frozen": "train.csv", "finetuned": "finetune.csv"}


def version_tags(candidate: Candidate, evaluation: Evaluation, overrides: Sequence[str], evidence_sha256: str) -> dict[str, str]:
    """Where a version came from and how it measured."""
    return {
        "model_sha256": candidate.model_sha256,
        "phase": candidate.phase,
        "task": candidate.task,
        "test_split_hash": candidate.test_split_hash,
        "catalog.sha256": sha256(require_file(CATALOG)),
        "overrides": ", ".join(overrides)[:TAG_LIMIT] or "none",
        versions.EVIDENCE_TAG: evidence_sha256,
        **provenance.provenance(),
        **metric_tags(evaluation.test),
    }


def log_evaluation(client: "MlflowClient", run_id: str, evaluation: Evaluation, export: ExportReport) -> None:
    """Log what people look at into the candidate's run: test figures, reports, pictures and exports.

    MLflow's page makes a section of charts of what comes before a slash.
    """
    test = {name: evaluation.test.figures[name] for name in HEADLINE_METRICS}
    figures = {f"test/{name}": row.value for name, row in test.items()}
    figures |= {f"test_low/{name}": row.low for name, row in test.items()} | {f"test_high/{name}": row.high for name, row in test.items()}
    figures |= {f"shift/{name}": row.balanced_accuracy for name, row in evaluation.shifts.items()}
    figures |= {f"shift_loss/{name}": row.drop.value for name, row in evaluation.shifts.items()}
    left_out = (evaluation.collections_left_out or {}).items()
    figures |= {f"collection_left_out/{metric_name(name)}": row.drop.value for name, row in left_out}
    figures |= {f"validation/{name}": value for name, value in evaluation.validation[evaluation.picked]}
    figures |= {f"export/{name}": value for name, value in flatten(export.model_dump(exclude={"schema_version"}), reducer="dot").items()}
    runs.log_metrics(client, run_id, figures)
    docs = ((REPORTS / "validation", "data_docs/catalog"), (REPORTS / "split", "data_docs/split"))
    for folder, name in ((EVALUATION_PLOTS, evidence.EVALUATION_IN_RUN), (EXPORTED, "export"), *docs):
        client.log_artifacts(run_id, str(folder), name)
    for report in (EVALUATION, EXPORT_REPORT):
        client.log_artifact(run_id, str(report), evidence.REPORTS_IN_RUN)


def metric_name(collection: str) -> str:
    """A collection's name, which may be any text, with what MLflow refuses in a metric's name replaced by underscores."""
    return re.sub(r"[^\w\- :]", "_", collection)[:100]


def registered_before(
    client: "MlflowClient", found: Evidence, holding: "Sequence[ModelVersion]", entries: Sequence[Promotion]
) -> "tuple[ModelVersion, Evidence] | None":
    """The newest version that holds this candidate with the same evidence, and that evidence; None where there is none.

    A candidate that was evaluated differently since becomes a version of its own, and so does one whose version has lost its evidence.

    Args:
        client: of the store.
        found: the evidence on the candidate.
        holding: the versions of this candidate, the newest first.
        entries: the promotion record.
    """
    for version in holding:
        try:
            held = evidence.load_evidence(client, version, promotion.evidence_of(entries, str(version.version)))
        except (evidence.EvidenceLost, evidence.EvidenceChanged) as fault:
            print(f"warning: version {version.version} holds this candidate, but does not count: {fault}", file=sys.stderr)
            continue
        if held.same(found):
            return version, held
    return None


def create_version(client: "MlflowClient", candidate: Candidate, found: Evidence, settings: Settings) -> "ModelVersion":
    """Register the candidate as a new version, with a run and evidence of its own."""
    curves = pd.read_csv(require_file(CURVES / CURVES_OF[candidate.phase]))
    with (
        tempfile.TemporaryDirectory() as place,
        runs.candidate_run(client, candidate, settings.logged(candidate.phase), curves) as run_id,
    ):
        folder = Path(place) / evidence.FOLDER
        digest = evidence.write_evidence(folder, candidate, settings, judgement.judge_alone(found, settings))
        log_evaluation(client, run_id, found.evaluation, found.export)
        source = logged_model.log_model(run_id, CANDIDATE, folder, candidate.task)
        tags = version_tags(candidate, found.evaluation, settings.overrides, digest)
        return versions.create_version(client, settings.registration.registered_model, source, run_id, tags)


@dataclass(frozen=True)
class Registered:
    """The version that holds the candidate, the evidence it is judged by, and whether this run made the version.

    `was_champion`: a version that holds this candidate has been champion.
    """

    version: "ModelVersion"
    rules: list[Rule]
    new: bool
    was_champion: bool

    @property
    def number(self) -> str:
        """The version's number."""
        return str(self.version.version)


def register(settings: Settings) -> None:
    """Run the stage. The champion's evidence is read before anything is written.

    Raises:
        LesionflowError: MLflow does not answer, the champion answers another task, or evidence was changed.
    """
    params = settings.registration
    candidate = Candidate.read(CANDIDATE / "candidate.json")
    found = evidence.candidate_evidence(candidate, settings)
    client = store.connect()
    with store.mlflow_errors("MLflow refused the registration"):
        versions.ensure_model(client, params.registered_model)
        state = promotion.read_champion_state(client, params.registered_model)
        registered = find_or_create(client, candidate, found, state, settings)
        tag_challenger(client, registered, state, settings)
        promoted, overtaken = promote(client, registered, state, settings)
        now = promotion.read_champion_state(client, params.registered_model)
    noticed = now.noticed or state.noticed
    if noticed is not None:
        print(f"warning: {promotion.external_move_warning(noticed)}", file=sys.stderr)
    report = Registration(
        model=params.registered_model,
        version=registered.number,
        new_version=registered.new,
        mlflow_run=registered.version.run_id,
        promote=promote_mode(settings),
        overrides=settings.overrides,
        overrides_beyond_training=tuple(settings.overrides_beyond_training),
        gate_passed=gate.passed(registered.rules),
        gate=tuple(registered.rules),
        warning=gate.int8_warning(found.export, params.min_export_agreement),
        was_champion=registered.was_champion,
        promotion=promoted,
        overtaken=overtaken,
        noticed=noticed,
        champion=now.number,
    )
    report.write(REGISTRATION)
    print("\n".join(summary_lines(report)))


def find_or_create(client: "MlflowClient", candidate: Candidate, found: Evidence, state: ChampionState, settings: Settings) -> Registered:
    """Judge the candidate, and register it as a new version unless one holds it with the same evidence."""
    holding = versions.versions_tagged(client, settings.registration.registered_model, "model_sha256", candidate.model_sha256)
    before = registered_before(client, found, holding, state.entries)
    version, judged = before or (None, found)
    rules = judgement.judge_version(client, judged, str(version.version) if version else None, state, settings)
    if version is None:
        version = create_version(client, candidate, found, settings)
    was_champion = any(promotion.was_champion(state.entries, str(one.version)) for one in (version, *holding))
    return Registered(version, rules, before is None, was_champion)


def tag_challenger(client: "MlflowClient", registered: Registered, state: ChampionState, settings: Settings) -> None:
    """Move the alias `challenger` to the version, and tag it with the gate's verdict."""
    model, number = settings.registration.registered_model, registered.number
    client.set_registered_model_alias(model, versions.CHALLENGER, number)
    rival = state.number if state.number != number else None
    versions.tag_verdict(client, model, number, versions.Verdict(registered.rules, rival, settings.overrides))


def promote_mode(settings: Settings) -> str:
    """`automatic` or `manual`; a run that overrides more than training params is always manual."""
    return "manual" if settings.overrides_beyond_training else settings.registration.promotion


def promote(
    client: "MlflowClient", registered: Registered, state: ChampionState, settings: Settings
) -> tuple[Promotion | None, str | None]:
    """Make the version champion if the gate passed it and a person need not decide.

    Returns:
        the promotion, or None; and why it failed where another process promoted first, or None.
    """
    if not gate.passed(registered.rules) or promote_mode(settings) != "automatic" or registered.was_champion:
        return None, None
    try:
        return promotion.move_champion(
            client, state, registered.number, promotion.Cause(promotion.AUTOMATIC, gate.verdict(registered.rules))
        ), None
    except ConcurrentPromotionError as fault:
        return None, str(fault)


def summary_lines(report: Registration) -> list[str]:
    """What was registered and what the gate said, in lines for a person."""
    lines = [f"{report.model} version {report.version} ({'new' if report.new_version else 'registered before'})"]
    lines += [f"  {'pass' if rule.passed else 'FAIL'}  {rule.name}: {rule.says}" for rule in report.gate]
    if report.warning:
        lines.append(f"  warning: {report.warning}")
    if report.champion == report.version:
        return [*lines, "it is champion"]
    if not report.gate_passed:
        why = "the gate did not pass it"
    elif report.overtaken:
        why = report.overtaken
    elif report.overrides_beyond_training:
        why = (
            f"a person decides, because this run overrides {', '.join(report.overrides_beyond_training)}"
            f" (only {', '.join(TRAINING_PARAMS)} may be overridden and promoted automatically):"
            f" `lesionflow champion promote {report.version}`"
        )
    elif report.promote == "manual":
        why = f"a person decides (register.promotion: manual): `lesionflow champion promote {report.version}`"
    else:
        why = f"it was champion before, and comes back only by hand: `lesionflow champion promote {report.version}`"
    return [*lines, f"it is challenger: {why}; champion: {report.champion or 'none yet'}"]


if __name__ == "__main__":
    run(lambda: register(load()), __doc__)
