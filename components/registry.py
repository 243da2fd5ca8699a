"""MLflow's model registry: versions with what they measured and the gate's verdict, and the aliases champion and challenger."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from components import gate, ledger, packaging
from components.classes import output_names
from components.escaping import for_markdown
from components.gate import Rule
from components.scores import HEADLINES
from components.tracking import told

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER = "champion", "challenger"
NEVER_JUDGED = "never judged"
EVIDENCE_TAG = "evidence.sha256"
"""Tag of a version that holds the sha256 of its evidence (evidence.py)."""
HOW_TO_REGISTER = (
    "`dvc repro` trains and registers one; where DVC finds every stage unchanged (the version is in another MLflow store),"
    " `dvc repro --force --single-item register` registers it here"
)
SERVING = Path(packaging.__file__).with_name(f"{packaging.ENTRY}.py")
REQUIREMENTS = ("tensorflow", "keras", "mlflow", "pillow", "numpy", "pandas")
TAG_LIMIT = 5000
INTERVAL = re.compile(r"(?P<value>[\d.]+) \[(?P<low>[\d.]+), (?P<high>[\d.]+)\]")
"""A figure in a tag, as `interval_text` writes it."""
ABOUT = """Skin-lesion classifier over dermoscopy images, trained by Lesionflow.

**For**: research, and drawing a clinician's attention to lesions that merit a closer look.
**Not for**: diagnosis without a clinician, clinical photographs without a dermoscope, or skin and devices it was not measured on.

`champion` is the version that serves; `challenger` is the newest candidate. A version's description and tags hold its test
figures with 95 % intervals, the gate's verdict rule by rule, and the hashes of the data it came from; its source run holds the
curves and the confusion matrix, its logged model the evidence: test predictions, reports and split. Move `champion` with
`lesionflow champion promote VERSION`, which applies the gate, or here; the experiment `promotions` keeps every change."""


def alias(client: "MlflowClient", model: str, name: str) -> "ModelVersion | None":
    """The version an alias stands at, or None."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(model, name)
    except MlflowException as fault:
        if fault.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def find(client: "MlflowClient", model: str, wanted: str) -> "ModelVersion | None":
    """The version an alias or a version number names, or None."""
    if not wanted.isdigit():
        return alias(client, model, wanted)
    found = client.search_model_versions(f"name = '{model}' and version_number = {wanted}")
    return found[0] if found else None


def versions_tagged(client: "MlflowClient", model: str, tag: str, value: str) -> "list[ModelVersion]":
    """The versions whose tag has this value, the newest first."""
    found = client.search_model_versions(f"name = '{model}' and tags.`{tag}` = '{value}'")
    return sorted(found, key=lambda version: int(version.version), reverse=True)


def log_model(run_id: str, candidate: Path, evidence: Path, task: str, example: bytes) -> str:
    """Log the candidate into its run, to be loaded as a pyfunc that takes image bytes; returns the model's URI.

    Args:
        run_id: the candidate's run.
        candidate: build/candidate/.
        evidence: the folder that `evidence.write` made.
        task: which outputs the signature names.
        example: an image's bytes, as the input example.
    """
    import mlflow
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    class NotServedYet(Model):
        """Its example is not answered while it is logged: that would load TensorFlow, and MLflow only warns where it fails."""

        def get_serving_input(self, path: str) -> None:  # noqa: ARG002
            return None

    outputs = [ColSpec(DataType.string, "diagnosis"), *(ColSpec(DataType.double, name) for name in output_names(task))]
    signature = ModelSignature(Schema([ColSpec(DataType.binary, "image")]), Schema(outputs))
    with tempfile.TemporaryDirectory() as folder:
        code = packaging.write(packaging.modules_beside(SERVING), Path(folder))
        with code.importable(), mlflow.start_run(run_id=run_id), told("MLflow refused the model"):
            logged = NotServedYet.log(
                artifact_path=None,
                name="model",
                flavor=mlflow.pyfunc,
                flavor_name="pyfunc.ModelFromCode",
                python_model=str(code.entry),
                artifacts={"candidate": str(candidate), "evidence": str(evidence)},
                code_paths=[str(code.folder)],
                signature=signature,
                input_example=pd.DataFrame({"image": [example]}),
                pip_requirements=[f"{name}=={installed(name)}" for name in REQUIREMENTS],
                metadata={"outputs": list(output_names(task))},
            )
    return str(logged.model_uri)


def create_version(client: "MlflowClient", model: str, source: str, run_id: str, tags: Mapping[str, str]) -> "ModelVersion":
    """Register a logged model as a new version, with its tags from the first moment."""
    ensure_model(client, model)
    return client.create_model_version(model, source, run_id=run_id, tags=dict(tags), description=describe(tags))


def ensure_model(client: "MlflowClient", model: str) -> None:
    """Make the registered model where it does not exist, together with the name of its promotion record.

    Of two processes that make it at once one succeeds, record and all.
    """
    from mlflow.exceptions import MlflowException

    if ledger.locate(client, model) is None:
        run_id_of_record = ledger.start(client, model)
        try:
            client.create_registered_model(model, tags={ledger.RUN_TAG: run_id_of_record}, description=ABOUT)
        except MlflowException as fault:
            client.delete_run(run_id_of_record)
            if fault.error_code != "RESOURCE_ALREADY_EXISTS":
                raise


def tag_verdict(
    client: "MlflowClient", model: str, version: str, rules: list[Rule], champion: str | None, overrides: Sequence[str] = ()
) -> None:
    """Write the gate's verdict on a version in place of an earlier one: as a whole, a tag per rule, and in the description.

    Args:
        client: of the store.
        model: the registered model.
        version: what was judged.
        rules: the verdict.
        champion: the version it was held against, or None.
        overrides: params that this run alone used, where it used any.
    """
    now = {f"gate.{rule.name.replace(' ', '_')}": f"{'passed' if rule.passed else 'failed'}: {rule.says}"[:TAG_LIMIT] for rule in rules}
    now |= {"judged.at": datetime.now(UTC).isoformat(timespec="seconds"), "judged.against": champion or "none"}
    now["judged.overrides"] = ", ".join(overrides)[:TAG_LIMIT] or "none"
    now["gate"] = "passed" if gate.passed(rules) else "failed"
    before = dict(client.get_model_version(model, version).tags)
    for name in before.keys() - now.keys():
        if name.startswith("gate."):
            client.delete_model_version_tag(model, version, name)
    for name, value in now.items():
        client.set_model_version_tag(model, version, name, value)
    kept = {name: value for name, value in before.items() if not name.startswith("gate.")}
    client.update_model_version(model, version, description=describe({**kept, **now}))


def rules_of(tags: Mapping[str, str]) -> list[Rule]:
    """The gate's verdict as a version's tags hold it, rule by rule; empty where it was never judged."""
    held = {name.removeprefix("gate.").replace("_", " "): value for name, value in sorted(tags.items()) if name.startswith("gate.")}
    return [Rule(name, value.startswith("passed: "), value.partition(": ")[2]) for name, value in held.items()]


def verdict(version: "ModelVersion") -> str:
    """The gate's verdict on a version, in a line."""
    if "gate" not in version.tags:
        return NEVER_JUDGED
    rules = rules_of(version.tags)
    return gate.verdict(rules) if rules else str(version.tags["gate"])


def figure_tags(test: Mapping[str, Any]) -> dict[str, str]:
    """The headline test figures of reports/evaluation.json as a version's tags."""
    return {f"test.{name}": interval_text(test[name]) for name in HEADLINES if name in test}


def figures_of(tags: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """The headline test figures as a version's tags hold them, each with value, low and high (four decimals)."""
    found = {name: INTERVAL.fullmatch(tags.get(f"test.{name}", "")) for name in HEADLINES}
    return {name: {bound: float(text) for bound, text in match.groupdict().items()} for name, match in found.items() if match}


def describe(tags: Mapping[str, str]) -> str:
    """A version in Markdown for MLflow's page: phase, figures, verdict, dataset."""
    figures = figures_of(tags)
    rows = [f"| {name.replace('_', ' ')} | {row['value']:.4f} | {row['low']:.4f} to {row['high']:.4f} |" for name, row in figures.items()]
    rules = [f"- {'passed' if rule.passed else '**FAILED**'} {rule.name}: {for_markdown(rule.says)}" for rule in rules_of(tags)]
    against = tags.get("judged.against", "none")
    held = "with no champion to beat" if against == "none" else f"against version {against}"
    judged = f"Gate: **{tags['gate']}** {held}, {tags['judged.at']}" if "judged.at" in tags else f"Gate: **{NEVER_JUDGED}**"
    phase, task, data = (tags.get(name, "unknown") for name in ("phase", "task", "data.md5"))
    return "\n".join(
        [
            f"Phase: {phase}. Task: {task}. Dataset: `{data}`.",
            "",
            *(["| test figure | value | 95 % interval |", "| --- | --- | --- |", *rows, ""] if rows else []),
            judged,
            "",
            *rules,
        ]
    ).rstrip()


def interval_text(estimate: Mapping[str, float]) -> str:
    """A figure and its interval as a tag holds it."""
    return f"{estimate['value']:.4f} [{estimate['low']:.4f}, {estimate['high']:.4f}]"
