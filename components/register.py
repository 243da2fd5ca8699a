"""Register the candidate as a new version, set `challenger`, apply the gate and, if promotion is automatic, move `champion`.

In a DVC experiment no alias moves: the version is tagged with the experiment, and a person may promote it.

Reads build/candidate/, build/export/, build/splits.parquet, card.yaml and the reports. Writes reports/registration.json,
reports/report.html and the MLflow registry, where a version has its evidence and its model card. Registering the same candidate with the
same evaluation twice creates one version. A former champion is never promoted automatically, so that no scheduled run undoes a rollback.
"""

import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from flatten_dict import flatten

from components.core.files import require_file, sha256
from components.core.paths import (
    CANDIDATE,
    CATALOG,
    CLINIC,
    CURVES,
    EVALUATION,
    EVALUATION_PLOTS,
    EXPORT_REPORT,
    EXPORTED,
    INDEX,
    INDEX_REPORT,
    REGISTRATION,
    REPORTS,
    RUN_REPORT,
)
from components.core.reports.candidate import Candidate
from components.core.reports.clinic import Clinic
from components.core.reports.evaluation import Evaluation
from components.core.reports.export import ExportReport
from components.core.reports.registration import Promotion, Registration, Rule
from components.core.reports.statements import Statements
from components.evaluation.predictions import HEADLINE_METRICS
from components.evaluation.subgroups import named_subgroups, subgroup_name
from components.registry import evidence, gate, judgement, promotion, run_report, versions
from components.registry.card import rendering
from components.registry.card.build import build_card
from components.registry.card.sources import read_sources
from components.registry.evidence import Evidence
from components.registry.promotion import ChampionState
from components.registry.promotion_record import ConcurrentPromotionError
from components.registry.registration_lines import registration_lines
from components.registry.version_tags import TAG_LIMIT, label_set_tags, metric_tags, subgroup_tags
from components.runtime.experiment import experiment_name
from components.runtime.params import Settings
from components.runtime.params_file import load
from components.runtime.stage import run
from components.serving import logged_model
from components.tracking import provenance, runs, store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CURVES_OF = {"frozen": "train.csv", "finetuned": "finetune.csv"}


def version_tags(candidate: Candidate, evaluation: Evaluation, overrides: Sequence[str], evidence_sha256: str) -> dict[str, str]:
    """Tags with the origin and the metrics of a version."""
    return {
        "model_sha256": candidate.model_sha256,
        "phase": candidate.phase,
        **label_set_tags(candidate.label_set),
        "test_split_hash": candidate.test_split_hash,
        "catalog.sha256": sha256(require_file(CATALOG)),
        "overrides": ", ".join(overrides)[:TAG_LIMIT] or "none",
        versions.EVIDENCE_TAG: evidence_sha256,
        **provenance.provenance(),
        **metric_tags(evaluation.test),
        **subgroup_tags(evaluation.subgroups),
    }


def log_evaluation(client: "MlflowClient", run_id: str, evaluation: Evaluation, export: ExportReport) -> None:
    """Log metrics, reports, plots and exports to the run of the candidate.

    The MLflow page groups charts by the part of a metric name before the slash.
    """
    test = {name: evaluation.test.figures[name] for name in HEADLINE_METRICS if name in evaluation.test.figures}
    metrics = {f"test/{name}": row.value for name, row in test.items()}
    metrics |= {f"test_low/{name}": row.low for name, row in test.items()} | {f"test_high/{name}": row.high for name, row in test.items()}
    metrics |= {f"shift/{name}": row.balanced_accuracy for name, row in evaluation.shifts.items()}
    metrics |= {f"shift_loss/{name}": row.drop.value for name, row in evaluation.shifts.items()}
    left_out = (evaluation.collections_left_out or {}).items()
    metrics |= {f"collection_left_out/{metric_name(name)}": row.drop.value for name, row in left_out}
    metrics |= subgroup_metrics(evaluation)
    metrics |= triage_metrics(Clinic.read(CLINIC))
    metrics |= {f"validation/{name}": value for name, value in evaluation.validation[evaluation.picked]}
    metrics |= {f"export/{name}": value for name, value in flatten(_numbers(export), reducer="dot").items()}
    runs.log_metrics(client, run_id, metrics)
    docs = ((REPORTS / "validation", "data_docs/catalog"), (REPORTS / "split", "data_docs/split"))
    for folder, name in ((EVALUATION_PLOTS, evidence.EVALUATION_IN_RUN), (EXPORTED, "export"), *docs):
        client.log_artifacts(run_id, str(folder), name)
    for report in (EVALUATION, CLINIC, EXPORT_REPORT, INDEX_REPORT):
        client.log_artifact(run_id, str(report), evidence.REPORTS_IN_RUN)


def _numbers(export: ExportReport) -> dict[str, Any]:
    rows = {precision: row.model_dump(exclude={"reason", "written"}) for precision, row in export.precisions.items()}
    return {**rows, "test_images": export.test_images}


def subgroup_metrics(evaluation: Evaluation) -> dict[str, float]:
    """The balanced accuracy of each subgroup that has figures, by the name of its metric."""
    return {
        f"subgroup/{metric_name(subgroup_name(dimension, value).replace('+', ' and over'))}": result.balanced_accuracy.value
        for dimension, value, result in named_subgroups(evaluation.subgroups)
        if result.balanced_accuracy is not None
    }


def triage_metrics(clinic: Clinic) -> dict[str, float]:
    """Sensitivity, specificity and share flagged at the operating point `triage`, by the names of their metrics."""
    point = clinic.operating_points.get("triage")
    return {f"triage/{name}": row.value for name, row in point.figures.items()} if point else {}


def metric_name(name: str) -> str:
    """The name of a collection or subgroup with characters that MLflow does not allow in metric names replaced by underscores."""
    return re.sub(r"[^\w\- :]", "_", name)[:100]


def registered_before(
    client: "MlflowClient", candidate_evidence: Evidence, versions_of_candidate: "Sequence[ModelVersion]", entries: Sequence[Promotion]
) -> "tuple[ModelVersion, Evidence] | None":
    """The newest version of this candidate with the same evidence, and the evidence of this version; None if there is none.

    A candidate becomes a new version if it was evaluated differently since, or if the evidence of its version is lost.

    Args:
        client: the client of the MLflow store.
        candidate_evidence: the evidence of the candidate.
        versions_of_candidate: the versions of this candidate, newest first.
        entries: the promotion record.
    """
    for version in versions_of_candidate:
        try:
            version_evidence = evidence.load_evidence(client, version, promotion.evidence_of(entries, str(version.version)))
        except (evidence.EvidenceLost, evidence.EvidenceChanged) as error:
            print(f"warning: version {version.version} holds this candidate, but does not count: {error}", file=sys.stderr)
            continue
        if version_evidence.same(candidate_evidence):
            return version, version_evidence
    return None


def create_version(client: "MlflowClient", candidate: Candidate, candidate_evidence: Evidence, settings: Settings) -> "ModelVersion":
    """Register the candidate as a new version with its own run, evidence and model card."""
    curves = pd.read_csv(require_file(CURVES / CURVES_OF[candidate.phase]))
    with (
        tempfile.TemporaryDirectory() as temporary,
        runs.candidate_run(client, candidate, settings.logged(candidate.phase), curves) as run_id,
    ):
        folder, card = Path(temporary) / evidence.FOLDER, Path(temporary) / rendering.FOLDER
        digest = evidence.write_evidence(folder, candidate, settings, judgement.judge_alone(candidate_evidence, settings))
        rendering.write_card(build_card(read_sources(candidate, folder)), card)
        log_evaluation(client, run_id, candidate_evidence.evaluation, candidate_evidence.export)
        client.log_artifacts(run_id, str(card), rendering.FOLDER)
        served = [CANDIDATE, EXPORTED, *([INDEX] if INDEX.exists() else [])]
        source = logged_model.log_model(run_id, [*served, folder, card], candidate.outputs)
        tags = version_tags(candidate, candidate_evidence.evaluation, settings.overrides, digest)
        return versions.create_version(client, settings.registration.registered_model, source, run_id, tags)


@dataclass(frozen=True)
class Registered:
    """The version of the candidate after registration.

    Attributes:
        version: the version.
        rules: the results of the rules of the gate.
        new: whether this run created the version.
        was_champion: whether a version of this candidate has been champion.
    """

    version: "ModelVersion"
    rules: list[Rule]
    new: bool
    was_champion: bool

    @property
    def number(self) -> str:
        """The number of the version."""
        return str(self.version.version)


def register(settings: Settings) -> None:
    """Run the stage. The evidence of the champion is read before anything is written.

    Raises:
        LesionflowError: card.yaml is not valid, MLflow does not respond, a version cannot be judged, or evidence was changed.
    """
    params = settings.registration
    Statements.load()  # an error in card.yaml is reported before anything is written
    candidate = Candidate.read(CANDIDATE / "candidate.json")
    candidate_evidence = evidence.candidate_evidence(candidate, settings)
    client = store.connect()
    with store.mlflow_errors("MLflow refused the registration"):
        versions.ensure_model(client, params.registered_model)
        state = promotion.read_champion_state(client, params.registered_model)
        registered = find_or_create(client, candidate, candidate_evidence, state, settings)
        tag_verdict(client, registered, state, settings)
        promoted, overtaken = (None, None) if experiment_name() else move_aliases(client, registered, state, settings)
        final_state = promotion.read_champion_state(client, params.registered_model)
    if noticed := final_state.noticed or state.noticed:
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
        warning=candidate_evidence.export.int8.reason,
        was_champion=registered.was_champion,
        promotion=promoted,
        overtaken=overtaken,
        noticed=noticed,
        champion=final_state.number,
        experiment=experiment_name(),
    )
    write_reports(client, report)
    print("\n".join(registration_lines(report)))


def write_reports(client: "MlflowClient", report: Registration) -> None:
    """Write reports/registration.json and reports/report.html, and log the page to the run of a new version."""
    report.write(REGISTRATION)
    run_report.write_report(report)
    if report.new_version:
        with store.mlflow_errors("MLflow did not take the report"):
            client.log_artifact(str(report.mlflow_run), str(RUN_REPORT), evidence.REPORTS_IN_RUN)


def find_or_create(
    client: "MlflowClient", candidate: Candidate, candidate_evidence: Evidence, state: ChampionState, settings: Settings
) -> Registered:
    """Judge the candidate and register it as a new version, unless a version has the same evidence."""
    versions_of_candidate = versions.versions_tagged(client, settings.registration.registered_model, "model_sha256", candidate.model_sha256)
    existing = registered_before(client, candidate_evidence, versions_of_candidate, state.entries)
    version, judged_evidence = existing or (None, candidate_evidence)
    rules = judgement.judge_version(client, judged_evidence, str(version.version) if version else None, state, settings)
    if version is None:
        version = create_version(client, candidate, candidate_evidence, settings)
    numbers = [str(registered.version) for registered in (version, *versions_of_candidate)]
    was_champion = any(promotion.was_champion(state.entries, number) for number in numbers)
    return Registered(version, rules, existing is None, was_champion)


def tag_verdict(client: "MlflowClient", registered: Registered, state: ChampionState, settings: Settings) -> None:
    """Tag the version with the verdict of the gate."""
    champion = state.number if state.number != registered.number else None
    verdict = versions.Verdict(registered.rules, champion, settings.overrides)
    versions.tag_verdict(client, settings.registration.registered_model, registered.number, verdict)


def promote_mode(settings: Settings) -> str:
    """Return `automatic` or `manual`; runs that override more than training params are always manual."""
    return "manual" if settings.overrides_beyond_training else settings.registration.promotion


def move_aliases(
    client: "MlflowClient", registered: Registered, state: ChampionState, settings: Settings
) -> tuple[Promotion | None, str | None]:
    """Make the version challenger, and champion if it passed the gate and promotion is automatic.

    Returns:
        The promotion or None, and an error message if another process moved the champion meanwhile, or None.
    """
    client.set_registered_model_alias(settings.registration.registered_model, versions.CHALLENGER, registered.number)
    if not gate.passed(registered.rules) or promote_mode(settings) != "automatic" or registered.was_champion:
        return None, None
    try:
        return promotion.move_champion(
            client, state, registered.number, promotion.Cause(promotion.AUTOMATIC, gate.verdict(registered.rules))
        ), None
    except ConcurrentPromotionError as error:
        return None, str(error)


if __name__ == "__main__":
    run(lambda: register(load()), __doc__)
