"""What the gate judges a version by, and the verdict: one way for a fresh candidate and for a version of long ago."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from components import gate, measuring, metrics
from components.classes import output_names, targets
from components.errors import LesionflowError
from components.paths import EVALUATION, EXPORT_REPORT, PREDICTIONS
from components.scores import Scored, difference
from components.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

REPORTS_IN_RUN = "reports"
EVALUATION_IN_RUN = "evaluation"
"""Folders of a version's MLflow run: evaluation.json and export.json; test predictions and pictures."""


@dataclass(frozen=True)
class Evidence:
    """What one version measured: `scored` its probabilities on test, everything else as the reports hold it.

    `collections` are those left out of training in turn. It is None, and `shifts` empty, where the version was evaluated before they
    were measured.
    """

    test: dict[str, Any]
    shifts: dict[str, Any]
    collections: dict[str, Any] | None
    export: dict[str, Any]
    scored: Scored
    test_split_hash: str
    data_md5: str

    @classmethod
    def of_reports(
        cls, evaluation: dict[str, Any], export: dict[str, Any], scored: Scored, test_split_hash: str, data_md5: str
    ) -> "Evidence":
        """From reports/evaluation.json and reports/export.json, be they of today's code or of older."""
        shifts, collections = evaluation.get("shifts", {}), evaluation.get("collections_left_out")
        return cls(evaluation["test"], shifts, collections, export, scored, test_split_hash, data_md5)


def of_version(client: "MlflowClient", version: "ModelVersion") -> Evidence:
    """The evidence on a registered version, from the artifacts of its MLflow run.

    Raises:
        LesionflowError: Lesionflow did not register it, or an artifact is gone.
    """
    evaluation = json.loads(_artifact(client, version, f"{REPORTS_IN_RUN}/{EVALUATION.name}"))
    export = json.loads(_artifact(client, version, f"{REPORTS_IN_RUN}/{EXPORT_REPORT.name}"))
    of_tags = (_tag(version, name) for name in ("test_split_hash", "data.md5"))
    return Evidence.of_reports(evaluation, export, recorded(client, version), *of_tags)


def recorded(client: "MlflowClient", version: "ModelVersion") -> Scored:
    """A version's probabilities on its test images, as they were recorded when it was evaluated.

    Raises:
        LesionflowError: as `of_version`.
    """
    task = _tag(version, "task")
    content = _artifact(client, version, f"{EVALUATION_IN_RUN}/{PREDICTIONS}")
    try:
        with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
            Path(file.name).write_bytes(content)
            return Scored.of_table(pd.read_parquet(file.name), task)
    except (KeyError, ValueError, OSError) as fault:
        raise LesionflowError(f"{PREDICTIONS} of {version.name} version {version.version} cannot be read: {fault}") from None


def judge(client: "MlflowClient", evidence: Evidence, champion: "ModelVersion | None", settings: Settings) -> list[gate.Rule]:
    """The gate's verdict, with the thresholds of params.yaml as they are now.

    Args:
        client: of the store.
        evidence: on the version to be judged.
        champion: whom it must beat; None where there is none, or it is that very version.
        settings: thresholds, seed, bootstrap.

    Raises:
        LesionflowError: the champion answers another task, or must be measured again and data/ does not hold the images.
    """
    comparison = None if champion is None else compare(client, evidence, champion, settings)
    measured = (evidence.test, evidence.shifts, evidence.collections, evidence.export)
    return gate.judge(*measured, comparison, settings.registration, unmeasured(evidence.scored))


def unmeasured(scored: Scored) -> list[str]:
    """The classes without a test image."""
    there = set(targets(list(scored.images["diagnosis"]), scored.task))
    return [name for number, name in enumerate(output_names(scored.task)) if number not in there]


def compare(client: "MlflowClient", evidence: Evidence, champion: "ModelVersion", settings: Settings) -> gate.Comparison:
    """A version against the champion on the version's test images, by a paired bootstrap over lesions.

    A champion that was measured on another test split is measured on this one first.
    """
    challenger = evidence.scored
    task = champion.tags.get("task")
    if task != challenger.task:
        raise LesionflowError(
            f"champion version {champion.version} is a {task} model and the candidate a {challenger.task} one:"
            " register them under different names (register.model in params.yaml)"
        )
    again = champion.tags.get("test_split_hash") != evidence.test_split_hash
    if again:
        print(f"champion version {champion.version} was measured on another test split: measuring it on this one")
        other = measuring.measure(champion, challenger.images, task, evidence.data_md5)
    else:
        table = recorded(client, champion).table().set_index("pixels_sha256")
        other = Scored.of_table(table.loc[challenger.images["pixels_sha256"]].reset_index(), task)
    samples = metrics.resamples(challenger.images["group"].to_numpy(), settings.evaluate.bootstrap, settings.seed)
    bins = settings.evaluate.calibration_bins
    balanced, melanoma = (difference(challenger, other, name, samples, bins) for name in ("balanced_accuracy", "melanoma_sensitivity"))
    return gate.Comparison(str(champion.version), balanced, melanoma, again)


def _tag(version: "ModelVersion", name: str) -> str:
    if name not in version.tags:
        raise LesionflowError(
            f"{version.name} version {version.version} has no tag {name}: Lesionflow did not register it, so the gate cannot judge it"
        )
    return str(version.tags[name])


def _artifact(client: "MlflowClient", version: "ModelVersion", path: str) -> bytes:
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as folder:
        try:
            return Path(client.download_artifacts(str(version.run_id), path, folder)).read_bytes()
        except (MlflowException, OSError) as fault:
            raise LesionflowError(
                f"{version.name} version {version.version} cannot be judged: its MLflow run {version.run_id or 'none'}"
                f" gives no {path} ({(str(fault).splitlines() or [''])[0]})"
            ) from None
