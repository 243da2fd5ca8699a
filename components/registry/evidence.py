"""The evidence of a version: what it was measured by, written once, with the version, and checked by whoever reads it.

It is a folder in the artifacts of the version's own logged model, so no other version can write into it: the test predictions,
the evaluation and export reports, the whole split, and the params, overrides, code and packages they depend on. Its sha256 is
a tag of the version from the first moment, and is in the promotion record where the version became champion.

A version registered before there was such a folder has its evidence in its MLflow run, as long as no other version shares
that run: a version registered later wrote over it.
"""

import hashlib
import platform
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from components.core.errors import LesionflowError
from components.core.files import require_file, sha256
from components.core.paths import CANDIDATE, CATALOG, EVALUATION, EXPORT_REPORT, PREDICTIONS_FILENAME, SPLITS
from components.core.reports.candidate import Candidate
from components.core.reports.evaluation import Evaluation
from components.core.reports.export import ExportReport
from components.core.reports.measured import EvaluationParams, GitState, Measured, MeasuredParams
from components.core.reports.registration import Rule
from components.evaluation.predictions import Predictions
from components.registry import version_tags, versions
from components.runtime.params import Settings
from components.tracking import provenance

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

FOLDER = "evidence"
"""Name of the folder among the artifacts of a logged model."""
MEASURED = "measured.json"
SPLIT = "split.parquet"
SPLIT_COLUMNS = ["pixels_sha256", "side", "group", "diagnosis", "path"]
PACKAGES = ("tensorflow", "keras", "numpy", "pandas", "pillow", "scikit-learn", "scipy", "mlflow")
REPORTS_IN_RUN = "reports"
EVALUATION_IN_RUN = "evaluation"
"""Folders of a run: the JSON reports; pictures and, where the version has no evidence of its own, the test predictions."""
AGAIN = "`dvc repro --force --single-item register` registers the present candidate with evidence of its own"


class EvidenceLost(LesionflowError):
    """The version has no evidence of its own, and its MLflow run no longer holds it: another version overwrote it, or it was deleted."""


class EvidenceChanged(LesionflowError):
    """The version's evidence is not what was recorded."""


@dataclass(frozen=True)
class Evidence:
    """What one version was measured by.

    `evaluation` and `export` are reports/evaluation.json and reports/export.json of that time, `scored` the probabilities on test,
    `bins` those of the calibration error. `passed_alone`: whether it passed every rule that needs no other version, with the
    thresholds it was registered with; None where that was not recorded.
    """

    evaluation: Evaluation
    export: ExportReport
    scored: Predictions
    test_split_hash: str
    data_md5: str
    bins: int
    passed_alone: bool | None

    def same(self, other: "Evidence") -> bool:
        """Whether both say the same of a candidate: equal evaluations on one split, and exports that agree with Keras equally often."""
        evaluated = (self.test_split_hash, self.evaluation) == (other.test_split_hash, other.evaluation)
        return evaluated and _agreement(self.export) == _agreement(other.export)


def candidate_evidence(candidate: Candidate, settings: Settings) -> Evidence:
    """The evidence on the candidate of this run, from build/ and reports/."""
    return Evidence(
        Evaluation.read(EVALUATION),
        ExportReport.read(EXPORT_REPORT),
        _scored(require_file(CANDIDATE / PREDICTIONS_FILENAME), candidate.task),
        candidate.test_split_hash,
        provenance.provenance()["data.md5"],
        settings.evaluate.calibration_bins,
        None,
    )


def write_evidence(folder: Path, candidate: Candidate, settings: Settings, alone: Sequence[Rule]) -> str:
    """Write the evidence on the candidate of this run into a new folder.

    Args:
        folder: to be made; its name must be FOLDER, under which `registry.log_model` logs it.
        candidate: build/candidate/candidate.json.
        settings: params.yaml as it is now.
        alone: the verdict of the rules that need no other version (`judgement.judge_alone`).

    Returns:
        The evidence's sha256.
    """
    folder.mkdir(parents=True)
    for source in (CANDIDATE / PREDICTIONS_FILENAME, EVALUATION, EXPORT_REPORT):
        shutil.copy(require_file(source), folder / source.name)
    pd.read_parquet(require_file(SPLITS))[SPLIT_COLUMNS].to_parquet(folder / SPLIT, index=False)
    came_from = provenance.provenance()
    code = Path(__file__).parents[1]
    Measured(
        alone=tuple(alone),
        catalog_sha256=sha256(require_file(CATALOG)),
        code={path.relative_to(code).as_posix(): sha256(path) for path in sorted(code.rglob("*.py"))},
        data_md5=came_from["data.md5"],
        git=GitState(commit=came_from["git.commit"], dirty=came_from["git.dirty"] == "true"),
        model_sha256=candidate.model_sha256,
        overrides=list(settings.overrides),
        packages={name: installed(name) for name in PACKAGES},
        params=MeasuredParams(
            seed=settings.seed,
            evaluate=EvaluationParams(**settings.evaluate.model_dump()),
            register=settings.registration.model_dump(),
        ),
        phase=candidate.phase,
        phase_sha256=candidate.phase_sha256,
        python=platform.python_version(),
        task=candidate.task,
        test_split_hash=candidate.test_split_hash,
    ).write(folder / MEASURED)
    return folder_sha256(folder)


def folder_sha256(folder: Path) -> str:
    """Hex sha256 over the names and contents of a folder's files, by name."""
    files = sorted((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256("".join(f"{sha256(path)}  {name}\n" for name, path in files).encode()).hexdigest()


def load_evidence(client: "MlflowClient", version: "ModelVersion", in_record: str | None) -> Evidence:
    """The evidence on a registered version, after checking that it is what was recorded.

    Args:
        client: of the store.
        version: of the registered model.
        in_record: the sha256 that the promotion record holds for this version (`promotion.evidence_of`), or None.

    Raises:
        EvidenceChanged: it is not what the version's tag, or the promotion record, says.
        EvidenceLost: it was in the version's MLflow run, and is not there any more.
        LesionflowError: Lesionflow did not register the version, or the evidence cannot be read.
    """
    tagged = version.tags.get(versions.EVIDENCE_TAG)
    if in_record not in (None, tagged):
        raise EvidenceChanged(_changed(version, f"the promotion record says sha256 {in_record}, and its tag {tagged or 'is gone'}"))
    if tagged is None:
        return _of_run(client, version)
    with tempfile.TemporaryDirectory() as place:
        folder = _download(client, version, Path(place))
        digest = folder_sha256(folder)
        if digest != tagged:
            raise EvidenceChanged(_changed(version, f"its sha256 was {tagged} when the version was registered, and is {digest}"))
        measured = Measured.read(folder / MEASURED, f"{MEASURED} of {_named(version)}")
        return Evidence(
            Evaluation.read(folder / EVALUATION.name, f"{EVALUATION.name} of {_named(version)}"),
            ExportReport.read(folder / EXPORT_REPORT.name, f"{EXPORT_REPORT.name} of {_named(version)}"),
            _scored(folder / PREDICTIONS_FILENAME, measured.task),
            measured.test_split_hash,
            measured.data_md5,
            measured.params.evaluate.calibration_bins,
            all(rule.passed for rule in measured.alone),
        )


def tag(version: "ModelVersion", name: str) -> str:
    """A tag that every version registered by Lesionflow has.

    Raises:
        LesionflowError: this one lacks it.
    """
    if name not in version.tags:
        raise LesionflowError(f"{_named(version)} has no tag {name}: Lesionflow did not register it, so the gate cannot judge it")
    return str(version.tags[name])


def _changed(version: "ModelVersion", how: str) -> str:
    return (
        f"the evidence of {_named(version)} was changed after it was registered: {how}."
        " Restore its artifacts and tags from a backup, or delete the version in MLflow"
    )


def _download(client: "MlflowClient", version: "ModelVersion", place: Path) -> Path:
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        root = client.get_model_version_download_uri(version.name, str(version.version))
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=f"{root}/artifacts/{FOLDER}", dst_path=str(place)))
    except (MlflowException, OSError) as fault:
        raise LesionflowError(
            f"the evidence of {_named(version)} cannot be read from its logged model ({version.source}):"
            f" {_first_line(fault)}. Restore its artifacts from a backup, or delete the version in MLflow"
        ) from None


def _of_run(client: "MlflowClient", version: "ModelVersion") -> Evidence:
    """The evidence on a version that was registered before evidence belonged to versions: the artifacts of its run."""
    others = [other for other in client.search_model_versions(f"run_id = '{version.run_id}'") if other.version != version.version]
    if version.run_id and others:
        numbers = ", ".join(sorted((str(other.version) for other in others), key=int))
        raise EvidenceLost(
            f"the evidence of {_named(version)} is lost: it shares its MLflow run {version.run_id} with"
            f" version {numbers}, and the last of them to be registered wrote over it. {AGAIN}"
        )
    name, of_export = f"{REPORTS_IN_RUN}/{EVALUATION.name}", f"{REPORTS_IN_RUN}/{EXPORT_REPORT.name}"
    evaluation = Evaluation.parse(_artifact(client, version, name), f"{EVALUATION.name} of {_named(version)}")
    export = ExportReport.parse(_artifact(client, version, of_export), f"{EXPORT_REPORT.name} of {_named(version)}")
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        Path(file.name).write_bytes(_artifact(client, version, f"{EVALUATION_IN_RUN}/{PREDICTIONS_FILENAME}"))
        scored = _scored(Path(file.name), tag(version, "task"))
    figures, recorded = evaluation.test.figures, version_tags.figure_texts(version.tags)
    if any(text != version_tags.interval_text(figures[name]) for name, text in recorded.items()):
        raise EvidenceLost(
            f"the evidence of {_named(version)} is lost: its MLflow run {version.run_id} holds other figures than"
            f" its tags, so a version that was deleted since wrote over it. {AGAIN}"
        )
    split, data = (tag(version, name) for name in ("test_split_hash", "data.md5"))
    return Evidence(evaluation, export, scored, split, data, _bins(evaluation.test.calibration_error.value, scored), None)


def _bins(recorded: float, scored: Predictions) -> int:
    """The bins of a recorded calibration error, which was recorded without them: those that give it from the predictions."""
    everything, usual = np.arange(len(scored.images)), 15
    fits = (bins for bins in (usual, *range(2, 101)) if abs(scored.headline("calibration_error", everything, bins) - recorded) < 1e-9)
    return next(fits, usual)


def _scored(path: Path, task: str) -> Predictions:
    try:
        return Predictions.of_table(pd.read_parquet(path), task)
    except (KeyError, ValueError, OSError) as fault:
        raise LesionflowError(f"{PREDICTIONS_FILENAME} cannot be read: {_first_line(fault)}") from None


def _artifact(client: "MlflowClient", version: "ModelVersion", path: str) -> bytes:
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as folder:
        try:
            return Path(client.download_artifacts(str(version.run_id), path, folder)).read_bytes()
        except (MlflowException, OSError) as fault:
            raise EvidenceLost(
                f"{_named(version)} cannot be judged: its MLflow run {version.run_id or 'none'}"
                f" gives no {path} ({_first_line(fault)}). {AGAIN}"
            ) from None


def _first_line(fault: BaseException) -> str:
    return (str(fault).splitlines() or [type(fault).__name__])[0]


def _agreement(export: ExportReport) -> dict[str, float]:
    return {name: row.same_top1 for name, row in export.precisions.items()}


def _named(version: "ModelVersion") -> str:
    return f"{version.name} version {version.version}"
