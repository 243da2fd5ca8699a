"""MLflow's model registry: versions, the aliases champion and challenger, and the promotion record.

The promotion record is an MLflow experiment, "promotions", with a run for each change of champion: runs are only ever
added, it lives wherever the registry lives, and MLflow's own page shows it. MLflow keeps no history of aliases itself.
"""

import getpass
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from components import images
from components.classes import output_names
from components.gate import Rule, as_rows, passed
from components.tracking import experiment_id, told

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER = "champion", "challenger"
PROMOTIONS = "promotions"
CODE = ("__init__.py", "errors.py", "images.py")
"""What serving.py imports of this project, logged beside the model."""
REQUIREMENTS = ("tensorflow", "keras", "mlflow", "pillow", "numpy", "pandas")
TAG_LIMIT = 5000
ABOUT = """Skin-lesion classifier over dermoscopy images, trained by Lesionflow.

**For**: research, and drawing a clinician's attention to lesions that merit a closer look.
**Not for**: diagnosis without a clinician, clinical photographs without a dermoscope, or skin and devices it was not measured on.

`champion` is the version that serves; `challenger` is the newest candidate. A version's tags hold its test figures with
95 % intervals, the gate's verdict rule by rule, and the hashes of the data it came from."""


@dataclass(frozen=True)
class Promotion:
    """One change of champion; `source` says what moved the alias."""

    model: str
    before: str | None
    after: str
    source: str
    verdict: str
    when: str
    who: str


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


def version_of_candidate(client: "MlflowClient", model: str, model_sha256: str) -> "ModelVersion | None":
    """The version that already holds this candidate, or None."""
    found = client.search_model_versions(f"name = '{model}' and tags.model_sha256 = '{model_sha256}'")
    return found[0] if found else None


def log_model(run_id: str, candidate: Path, task: str, example: bytes) -> str:
    """Log the candidate into its run, to be loaded as a pyfunc that takes image bytes; returns the model's URI.

    Args:
        run_id: the run of the phase that trained it.
        candidate: build/candidate/.
        task: which outputs the signature names.
        example: an image's bytes, as the input example.
    """
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    outputs = [ColSpec(DataType.string, "diagnosis"), *(ColSpec(DataType.double, name) for name in output_names(task))]
    signature = ModelSignature(Schema([ColSpec(DataType.binary, "image")]), Schema(outputs))
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder) / "components"
        code.mkdir()
        for name in CODE:
            shutil.copy(Path(images.__file__).with_name(name), code / name)
        with mlflow.start_run(run_id=run_id), told("MLflow refused the model"):
            logged = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(Path(images.__file__).with_name("serving.py")),
                artifacts={"candidate": str(candidate)},
                code_paths=[str(code)],
                signature=signature,
                input_example=pd.DataFrame({"image": [example]}),
                pip_requirements=[f"{name}=={installed(name)}" for name in REQUIREMENTS],
                metadata={"outputs": list(output_names(task))},
            )
    return str(logged.model_uri)


def create_version(client: "MlflowClient", model: str, source: str, run_id: str, tags: Mapping[str, str]) -> "ModelVersion":
    """Register a logged model as a new version, with its tags from the first moment."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(model, description=ABOUT)
    except MlflowException as fault:
        if fault.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return client.create_model_version(model, source, run_id=run_id, tags=dict(tags))


def tag_verdict(client: "MlflowClient", model: str, version: str, rules: list[Rule]) -> None:
    """Write the gate's verdict on a version: as a whole, and a tag per rule."""
    client.set_model_version_tag(model, version, "gate", "passed" if passed(rules) else "failed")
    for row in as_rows(rules):
        verdict = "passed" if row["passed"] else "failed"
        client.set_model_version_tag(model, version, f"gate.{row['name'].replace(' ', '_')}", f"{verdict}: {row['says']}"[:TAG_LIMIT])


def promote(client: "MlflowClient", model: str, version: str, source: str, verdict: str) -> Promotion:
    """Move `champion` to a version and append the change to the promotion record."""
    before = alias(client, model, CHAMPION)
    client.set_registered_model_alias(model, CHAMPION, version)
    return record(client, model, str(before.version) if before else None, version, source, verdict)


def record(client: "MlflowClient", model: str, before: str | None, after: str, source: str, verdict: str) -> Promotion:
    """Append a change of champion to the promotion record."""
    entry = Promotion(model, before, after, source, verdict, datetime.now(UTC).isoformat(timespec="seconds"), getpass.getuser())
    title = f"{model}: {before or 'none'} -> {after}"
    tags = {"promotion": json.dumps(entry.__dict__), "model": model, "source": source, "gate": verdict}
    run = client.create_run(experiment_id(client, PROMOTIONS), run_name=title, tags=tags)
    client.set_terminated(run.info.run_id)
    return entry


def promotions(client: "MlflowClient", model: str) -> list[Promotion]:
    """The promotion record of a model, oldest first."""
    runs = client.search_runs(
        [experiment_id(client, PROMOTIONS)], f"tags.model = '{model}'", order_by=["attributes.start_time ASC"], max_results=50_000
    )
    return [Promotion(**json.loads(run.data.tags["promotion"])) for run in runs]


def notice_moves(client: "MlflowClient", model: str) -> Promotion | None:
    """Append to the record a move of `champion` that a person made in MLflow's own page, if there was one."""
    champion = alias(client, model, CHAMPION)
    if champion is None:
        return None
    history = promotions(client, model)
    known = history[-1].after if history else None
    if known == str(champion.version):
        return None
    return record(client, model, known, str(champion.version), "moved outside the gate", champion.tags.get("gate", "never judged"))


def interval_text(estimate: Mapping[str, float]) -> str:
    """A figure and its interval as a tag holds it."""
    return f"{estimate['value']:.4f} [{estimate['low']:.4f}, {estimate['high']:.4f}]"
