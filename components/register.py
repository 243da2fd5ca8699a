"""Register the candidate as a new version, set `challenger`, apply the gate, and perhaps move `champion`.

Reads build/candidate/, build/export/, build/splits.parquet and the reports. Writes reports/registration.json and MLflow's
registry. The same candidate with the same evaluation registered twice makes one version. A model that was champion before comes
back by a person's hand alone, so that no scheduled run undoes a rollback.
"""

import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from components.core.files import existing, read_json, sha256, write_json
from components.core.paths import CANDIDATE, CATALOG, CURVES, EVALUATION, EXPORT_REPORT, EXPORTED, FIGURES, REGISTRATION, REPORTS
from components.evaluation.predictions import HEADLINES
from components.registry import evidence, gate, judgement, promotion, versions
from components.registry.evidence import Evidence
from components.registry.promotion_record import Overtaken, Promotion
from components.registry.version_tags import TAG_LIMIT, figure_tags
from components.runtime.params import TRAINING_PARAMS, Settings
from components.runtime.params_file import load
from components.runtime.stage import run
from components.serving import logged_model
from components.tracking import provenance, runs, store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CURVES_OF = {"frozen": "train.csv", "finetuned": "finetune.csv"}


def version_tags(card: dict[str, Any], evaluation: dict[str, Any], overrides: Sequence[str], evidence_sha256: str) -> dict[str, str]:
    """Where a version came from and how it measured."""
    return {
        "model_sha256": card["model_sha256"],
        "phase": card["phase"],
        "task": card["task"],
        "test_split_hash": card["test_split_hash"],
        "catalog.sha256": sha256(existing(CATALOG)),
        "overrides": ", ".join(overrides)[:TAG_LIMIT] or "none",
        versions.EVIDENCE_TAG: evidence_sha256,
        **provenance.provenance(),
        **figure_tags(evaluation["test"]),
    }


def log_evaluation(client: "MlflowClient", run_id: str, evaluation: dict[str, Any], export: dict[str, Any]) -> None:
    """Log what people look at into the candidate's run: test figures, reports, pictures and exports.

    MLflow's page makes a section of charts of what comes before a slash.
    """
    figures = {f"test/{name}": evaluation["test"][name]["value"] for name in HEADLINES}
    figures |= {f"test_{bound}/{name}": evaluation["test"][name][bound] for name in HEADLINES for bound in ("low", "high")}
    figures |= {f"shift/{name}": row["balanced_accuracy"] for name, row in evaluation["shifts"].items()}
    figures |= {f"shift_loss/{name}": row["drop"]["value"] for name, row in evaluation["shifts"].items()}
    left_out = evaluation["collections_left_out"].items()
    figures |= {f"collection_left_out/{metric_name(name)}": row["drop"]["value"] for name, row in left_out}
    figures |= {f"validation/{name}": value for name, value in evaluation["validation"][evaluation["picked"]].items()}
    figures |= {f"export/{name}": value for name, value in runs.flat(export).items()}
    runs.log_figures(client, run_id, figures)
    docs = ((REPORTS / "validation", "data_docs/catalog"), (REPORTS / "split", "data_docs/split"))
    for folder, name in ((FIGURES, evidence.EVALUATION_IN_RUN), (EXPORTED, "export"), *docs):
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
            held = evidence.of_version(client, version, promotion.evidence_of(entries, str(version.version)))
        except (evidence.Lost, evidence.Changed) as fault:
            print(f"warning: version {version.version} holds this candidate, but does not count: {fault}", file=sys.stderr)
            continue
        if held.same(found):
            return version, held
    return None


def create(client: "MlflowClient", card: dict[str, Any], found: Evidence, settings: Settings) -> "ModelVersion":
    """Register the candidate as a new version, with a run and evidence of its own."""
    curves = pd.read_csv(existing(CURVES / CURVES_OF[card["phase"]]))
    with (
        tempfile.TemporaryDirectory() as place,
        runs.candidate_run(client, card, settings.logged(card["phase"]), curves) as run_id,
    ):
        folder = Path(place) / evidence.FOLDER
        digest = evidence.write(folder, card, settings, gate.as_rows(judgement.alone(found, settings)))
        log_evaluation(client, run_id, found.evaluation, found.export)
        source = logged_model.log_model(run_id, CANDIDATE, folder, card["task"])
        tags = version_tags(card, found.evaluation, settings.overrides, digest)
        return versions.create_version(client, settings.registration.model, source, run_id, tags)


def register(settings: Settings) -> None:
    """Run the stage. The champion's evidence is read before anything is written.

    Raises:
        LesionflowError: MLflow does not answer, the champion answers another task, or evidence was changed.
    """
    knobs, overrides = settings.registration, settings.overrides_beyond_training
    promote = "manual" if overrides else knobs.promote
    card = read_json(CANDIDATE / "candidate.json")
    found = evidence.of_candidate(card, settings)
    client = store.connect()
    overtaken = None
    with store.told("MLflow refused the registration"):
        versions.ensure_model(client, knobs.model)
        standing = promotion.look(client, knobs.model)
        holding = versions.versions_tagged(client, knobs.model, "model_sha256", card["model_sha256"])
        before = registered_before(client, found, holding, standing.entries)
        version, judged = before or (None, found)
        rules = judgement.judge(client, judged, str(version.version) if version else None, standing, settings)
        if version is None:
            version = create(client, card, found, settings)
        number = str(version.version)
        client.set_registered_model_alias(knobs.model, versions.CHALLENGER, number)
        rival = standing.number if standing.number != number else None
        versions.tag_verdict(client, knobs.model, number, rules, rival, settings.overrides)
        was_champion = any(promotion.was_champion(standing.entries, str(one.version)) for one in (version, *holding))
        promoted = None
        if gate.passed(rules) and promote == "automatic" and not was_champion:
            try:
                promoted = promotion.move(client, standing, number, promotion.AUTOMATIC, gate.verdict(rules))
            except Overtaken as fault:
                overtaken = str(fault)
        now = promotion.look(client, knobs.model)
        noticed = now.noticed or standing.noticed
    if noticed is not None:
        print(f"warning: {promotion.warning(noticed)}", file=sys.stderr)
    report = {
        "model": knobs.model,
        "version": number,
        "new_version": before is None,
        "mlflow_run": version.run_id,
        "promote": promote,
        "overrides": list(settings.overrides),
        "overrides_beyond_training": overrides,
        "gate_passed": gate.passed(rules),
        "gate": gate.as_rows(rules),
        "warning": gate.int8_warning(found.export, knobs.min_export_agreement),
        "was_champion": was_champion,
        "promotion": asdict(promoted) if promoted else None,
        "overtaken": overtaken,
        "noticed": asdict(noticed) if noticed else None,
        "champion": now.number,
    }
    write_json(REGISTRATION, report)
    print("\n".join(announce(report)))


def announce(report: dict[str, Any]) -> list[str]:
    """What was registered and what the gate said, in lines for a person."""
    lines = [f"{report['model']} version {report['version']} ({'new' if report['new_version'] else 'registered before'})"]
    lines += [f"  {'pass' if rule['passed'] else 'FAIL'}  {rule['name']}: {rule['says']}" for rule in report["gate"]]
    if report["warning"]:
        lines.append(f"  warning: {report['warning']}")
    if report["champion"] == report["version"]:
        return [*lines, "it is champion"]
    if not report["gate_passed"]:
        why = "the gate did not pass it"
    elif report["overtaken"]:
        why = report["overtaken"]
    elif report["overrides_beyond_training"]:
        why = (
            f"a person decides, because this run overrides {', '.join(report['overrides_beyond_training'])}"
            f" (only {', '.join(TRAINING_PARAMS)} may be overridden and promoted automatically):"
            f" `lesionflow champion promote {report['version']}`"
        )
    elif report["promote"] == "manual":
        why = f"a person decides (register.promote: manual): `lesionflow champion promote {report['version']}`"
    else:
        why = f"it was champion before, and comes back only by hand: `lesionflow champion promote {report['version']}`"
    return [*lines, f"it is challenger: {why}; champion: {report['champion'] or 'none yet'}"]


if __name__ == "__main__":
    run(lambda: register(load()), __doc__)
