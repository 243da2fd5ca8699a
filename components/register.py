"""Register the candidate as a new version, set `challenger`, apply the gate, and perhaps move `champion`.

Reads build/candidate/, build/export/ and the reports. Writes reports/registration.json and MLflow's registry. The same
candidate registered twice makes one version. A champion measured on another test split is measured on this one first.
"""

import io
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image

from components import gate, metrics, registry, sample, tracking
from components.errors import LesionflowError
from components.files import existing, read_json, sha256, write_json
from components.paths import CANDIDATE, CATALOG, CURVES, DATA, EVALUATION, EXPORT_REPORT, EXPORTED, PREDICTIONS, REGISTRATION, REPORTS
from components.scores import HEADLINES, Scored, difference
from components.settings import Settings, load
from components.stage import run

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

SECTIONS = {"frozen": ("augment", "train"), "finetuned": ("augment", "train", "finetune")}
CURVES_OF = {"frozen": "train.csv", "finetuned": "finetune.csv"}
BATCH = 64


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
    logged = settings.logged(SECTIONS[card["phase"]])
    return tracking.recreate_phase(card["phase"], logged, {}, curves, card["phase_sha256"])


def log_evaluation(client: "MlflowClient", run_id: str, evaluation: dict[str, Any], export: dict[str, Any]) -> None:
    """Log the test figures, the reports and pictures, the exports and the test predictions into the candidate's run."""
    figures = {f"test.{name}": evaluation["test"][name]["value"] for name in HEADLINES}
    figures |= {f"test.{name}.{bound}": evaluation["test"][name][bound] for name in HEADLINES for bound in ("low", "high")}
    figures |= {f"validation.{name}": value for name, value in evaluation["validation"][evaluation["picked"]].items()}
    figures |= {f"export.{name}": value for name, value in tracking.flat(export).items()}
    tracking.log_figures(client, run_id, figures)
    for folder, name in ((REPORTS / "evaluation", "evaluation"), (EXPORTED, "export"), (REPORTS / "validation", "data_docs")):
        client.log_artifacts(run_id, str(folder), name)
    for report in (EVALUATION, EXPORT_REPORT):
        client.log_artifact(run_id, str(report), "reports")
    client.log_artifact(run_id, str(CANDIDATE / PREDICTIONS), "evaluation")


def scored_by_version(client: "MlflowClient", version: "ModelVersion", challenger: Scored, split_hash: str) -> Scored:
    """A version's probabilities on the challenger's test images: as recorded, or measured again where its split was another.

    Raises:
        LesionflowError: its task is another, so that the two cannot be compared.
    """
    import mlflow

    task = version.tags.get("task")
    if task != challenger.task:
        raise LesionflowError(
            f"champion version {version.version} is a {task} model and the candidate a {challenger.task} one:"
            " register them under different names (register.model in params.yaml)"
        )
    if version.tags.get("test_split_hash") == split_hash:
        table = pd.read_parquet(client.download_artifacts(str(version.run_id), f"evaluation/{PREDICTIONS}"))
        recorded = table.set_index("pixels_sha256").loc[challenger.images["pixels_sha256"]].reset_index()
        return Scored.of_table(recorded, task)
    print(f"champion version {version.version} was measured on another test split: measuring it on this one")
    served = mlflow.pyfunc.load_model(f"models:/{version.name}/{version.version}")
    paths = [DATA / path for path in challenger.images["path"]]
    frames = [
        served.predict(pd.DataFrame({"image": [path.read_bytes() for path in paths[start : start + BATCH]]}))
        for start in range(0, len(paths), BATCH)
    ]
    probabilities = pd.concat(frames).drop(columns="diagnosis").to_numpy(dtype=float)
    return Scored(challenger.images, probabilities, task)


def compare(client: "MlflowClient", champion: "ModelVersion", card: dict[str, Any], settings: Settings) -> gate.Comparison:
    """The candidate against the champion on the candidate's test images, by a paired bootstrap over lesions."""
    challenger = Scored.of_table(pd.read_parquet(CANDIDATE / PREDICTIONS), card["task"])
    other = scored_by_version(client, champion, challenger, card["test_split_hash"])
    samples = metrics.resamples(challenger.images["group"].to_numpy(), settings.evaluate.bootstrap, settings.seed)
    bins = settings.evaluate.calibration_bins
    balanced, melanoma = (difference(challenger, other, name, samples, bins) for name in ("balanced_accuracy", "melanoma_sensitivity"))
    return gate.Comparison(str(champion.version), balanced, melanoma)


def register(settings: Settings) -> None:
    """Run the stage.

    Raises:
        LesionflowError: MLflow does not answer, or the champion answers another task.
    """
    knobs = settings.registration
    card, evaluation, export = read_json(CANDIDATE / "candidate.json"), read_json(EVALUATION), read_json(EXPORT_REPORT)
    client = tracking.connect()
    with tracking.told("MLflow refused the registration"):
        moved = registry.notice_moves(client, knobs.model)
        if moved is not None:
            print(f"champion was moved outside the gate, to version {moved.after} ({moved.verdict}): noted in the promotion record")
        version = registry.version_of_candidate(client, knobs.model, card["model_sha256"])
        new = version is None
        if version is None:
            run_id = run_of_candidate(client, card, settings)
            log_evaluation(client, run_id, evaluation, export)
            source = registry.log_model(run_id, CANDIDATE, card["task"], example_image(card["image_size"]))
            version = registry.create_version(client, knobs.model, source, run_id, version_tags(card, evaluation))
        number = str(version.version)
        client.set_registered_model_alias(knobs.model, registry.CHALLENGER, number)
        champion = registry.alias(client, knobs.model, registry.CHAMPION)
        reigning = champion is not None and str(champion.version) == number
        comparison = compare(client, champion, card, settings) if champion is not None and not reigning else None
        rules = gate.judge(evaluation["test"], export, comparison, knobs)
        registry.tag_verdict(client, knobs.model, number, rules)
        promotion = None
        if gate.passed(rules) and knobs.promote == "automatic" and not reigning:
            promotion = registry.promote(client, knobs.model, number, "gate", "passed")
        champion_now = registry.alias(client, knobs.model, registry.CHAMPION)
    report = {
        "model": knobs.model,
        "version": number,
        "new_version": new,
        "mlflow_run": version.run_id,
        "promote": knobs.promote,
        "gate_passed": gate.passed(rules),
        "gate": gate.as_rows(rules),
        "warning": gate.int8_warning(export, knobs.min_export_agreement),
        "promotion": asdict(promotion) if promotion else None,
        "champion": str(champion_now.version) if champion_now else None,
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
    why = "a person decides (register.promote: manual)" if report["gate_passed"] else "the gate did not pass it"
    return [*lines, f"it is challenger: {why}; champion: {report['champion'] or 'none yet'}"]


if __name__ == "__main__":
    run(lambda: register(load()), __doc__)
