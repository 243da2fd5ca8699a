"""Register the candidate as a new version, set `challenger`, apply the gate, and perhaps move `champion`.

Reads build/candidate/, build/export/ and the reports. Writes reports/registration.json and MLflow's registry. The same
candidate registered twice makes one version. A version that was champion before comes back by a person's hand alone, so that
no scheduled run undoes a rollback.
"""

import io
import re
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image

from components import gate, judging, promotion, registry, sample, tracking
from components.files import existing, read_json, sha256, write_json
from components.judging import Evidence
from components.ledger import Overtaken
from components.paths import CANDIDATE, CATALOG, CURVES, EVALUATION, EXPORT_REPORT, EXPORTED, FIGURES, PREDICTIONS, REGISTRATION, REPORTS
from components.scores import HEADLINES, Scored
from components.settings import Settings, load
from components.stage import run

if TYPE_CHECKING:
    from mlflow import MlflowClient

CURVES_OF = {"frozen": "train.csv", "finetuned": "finetune.csv"}


def example_image(size: int) -> bytes:
    """A synthetic image as the model's input example: no patient's picture goes into the registry."""
    random = np.random.default_rng(0)
    pixels = sample.render(sample.draw_lesion("nevus", random), size, random)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def version_tags(card: dict[str, Any], evaluation: dict[str, Any]) -> dict[str, str]:
    """Where a version came from and how it measured."""
    test = evaluation["test"]
    return {
        "model_sha256": card["model_sha256"],
        "phase": card["phase"],
        "task": card["task"],
        "test_split_hash": card["test_split_hash"],
        "catalog.sha256": sha256(existing(CATALOG)),
        **tracking.provenance(),
        **{f"test.{name}": registry.interval_text(test[name]) for name in HEADLINES},
    }


def run_of_candidate(client: "MlflowClient", card: dict[str, Any], settings: Settings) -> str:
    """The MLflow run of the phase that was picked; made anew where no store has it."""
    found = tracking.run_of_model(client, card["phase_sha256"])
    if found is not None:
        return found
    curves = pd.read_csv(existing(CURVES / CURVES_OF[card["phase"]]))
    return tracking.recreate_phase(card["phase"], settings.logged(card["phase"]), {}, curves, card["phase_sha256"])


def log_evaluation(client: "MlflowClient", run_id: str, evaluation: dict[str, Any], export: dict[str, Any]) -> None:
    """Log the test figures, the reports and pictures, the exports and the test predictions into the candidate's run.

    MLflow's page makes a section of charts of what stands before a slash.
    """
    figures = {f"test/{name}": evaluation["test"][name]["value"] for name in HEADLINES}
    figures |= {f"test_{bound}/{name}": evaluation["test"][name][bound] for name in HEADLINES for bound in ("low", "high")}
    figures |= {f"shift/{name}": row["balanced_accuracy"] for name, row in evaluation["shifts"].items()}
    figures |= {f"shift_loss/{name}": row["drop"]["value"] for name, row in evaluation["shifts"].items()}
    left_out = evaluation["collections_left_out"].items()
    figures |= {f"collection_left_out/{metric_name(name)}": row["drop"]["value"] for name, row in left_out}
    figures |= {f"validation/{name}": value for name, value in evaluation["validation"][evaluation["picked"]].items()}
    figures |= {f"export/{name}": value for name, value in tracking.flat(export).items()}
    tracking.log_figures(client, run_id, figures)
    docs = ((REPORTS / "validation", "data_docs/catalog"), (REPORTS / "split", "data_docs/split"))
    for folder, name in ((FIGURES, judging.EVALUATION_IN_RUN), (EXPORTED, "export"), *docs):
        client.log_artifacts(run_id, str(folder), name)
    for report in (EVALUATION, EXPORT_REPORT):
        client.log_artifact(run_id, str(report), judging.REPORTS_IN_RUN)
    client.log_artifact(run_id, str(CANDIDATE / PREDICTIONS), judging.EVALUATION_IN_RUN)


def metric_name(collection: str) -> str:
    """A collection's name, which may be any text, with what MLflow refuses in a metric's name replaced by underscores."""
    return re.sub(r"[^\w\- :]", "_", collection)[:100]


def evidence_of_candidate(card: dict[str, Any], evaluation: dict[str, Any], export: dict[str, Any]) -> Evidence:
    """What the gate judges the candidate by, from the files of this run."""
    scored = Scored.of_table(pd.read_parquet(existing(CANDIDATE / PREDICTIONS)), card["task"])
    return Evidence.of_reports(evaluation, export, scored, card["test_split_hash"], tracking.provenance()["data.md5"])


def register(settings: Settings) -> None:
    """Run the stage.

    Raises:
        LesionflowError: MLflow does not answer, or the champion answers another task.
    """
    knobs = settings.registration
    card, evaluation, export = read_json(CANDIDATE / "candidate.json"), read_json(EVALUATION), read_json(EXPORT_REPORT)
    client = tracking.connect()
    overtaken = None
    with tracking.told("MLflow refused the registration"):
        version = registry.version_of_candidate(client, knobs.model, card["model_sha256"])
        new = version is None
        if version is None:
            run_id = run_of_candidate(client, card, settings)
            log_evaluation(client, run_id, evaluation, export)
            source = registry.log_model(run_id, CANDIDATE, card["task"], example_image(card["image_size"]))
            version = registry.create_version(client, knobs.model, source, run_id, version_tags(card, evaluation))
        number = str(version.version)
        client.set_registered_model_alias(knobs.model, registry.CHALLENGER, number)
        standing = promotion.look(client, knobs.model)
        rival = standing.champion if standing.number != number else None
        rules = judging.judge(client, evidence_of_candidate(card, evaluation, export), rival, settings)
        registry.tag_verdict(client, knobs.model, number, rules, str(rival.version) if rival else None)
        before = promotion.was_champion(standing.entries, number)
        promoted = None
        if gate.passed(rules) and knobs.promote == "automatic" and not before:
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
        "new_version": new,
        "mlflow_run": version.run_id,
        "promote": knobs.promote,
        "gate_passed": gate.passed(rules),
        "gate": gate.as_rows(rules),
        "warning": gate.int8_warning(export, knobs.min_export_agreement),
        "was_champion": before,
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
    elif report["promote"] == "manual":
        why = f"a person decides (register.promote: manual): `lesionflow champion promote {report['version']}`"
    else:
        why = f"it was champion before, and comes back only by hand: `lesionflow champion promote {report['version']}`"
    return [*lines, f"it is challenger: {why}; champion: {report['champion'] or 'none yet'}"]


if __name__ == "__main__":
    run(lambda: register(load()), __doc__)
