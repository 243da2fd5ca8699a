"""The evidence of a version: the files behind its metrics, written once at registration and verified on each read.

It is a folder in the artifacts of the logged model of the version, so no other version can write to it. It contains the test
predictions, the evaluation and export reports, the split, and the params, overrides, code and packages that these depend on. Its
sha256 is a tag of the version from the start, and is in the promotion record if the version became champion.

A version registered by an older release has its evidence in its MLflow run, unless versions share this run: the one registered last
has overwritten the evidence of the others.
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

from components.core.errors import LesionflowError, first_line
from components.core.files import require_file, sha256
from components.core.label_set import LabelSet
from components.core.paths import CANDIDATE, CATALOG, EVALUATION, EXPORT_REPORT, PREDICTIONS_FILENAME, SPLITS
from components.core.reports.candidate import Candidate
from components.core.reports.evaluation import Evaluation
from components.core.reports.export import ExportReport
from components.core.reports.measured import EvaluationParams, GitState, Measured, MeasuredParams
from components.core.reports.registration import Rule
from components.evaluation import former_predictions
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
PACKAGES = ("tensorflow", "keras", "ai-edge-litert", "numpy", "pandas", "pillow", "scikit-learn", "scipy", "mlflow")
REPORTS_IN_RUN = "reports"
EVALUATION_IN_RUN = "evaluation"
"""Folders of a run: JSON reports; plots and, for versions without an evidence folder, the test predictions."""
REGISTER_AGAIN = "`dvc repro --force --single-item register` registers the present candidate with evidence of its own"


class EvidenceLost(LesionflowError):
    """The version has no evidence folder, and the evidence in its MLflow run was overwritten or deleted."""


class EvidenceChanged(LesionflowError):
    """The evidence of a version differs from the recorded hash."""


@dataclass(frozen=True)
class Evidence:
    """The evidence of one version.

    Attributes:
        evaluation, export: reports/evaluation.json and reports/export.json at registration.
        scored: the test predictions.
        test_split_hash, data_md5: the test split and the dataset.
        bins: the number of bins of the calibration error.
        passed_alone: whether the version passed every rule that compares with no other version, with the thresholds at registration;
            None if this was not recorded.
        split: SPLIT_COLUMNS of its training, validation and test images; None if this was not recorded.
    """

    evaluation: Evaluation
    export: ExportReport
    scored: Predictions
    test_split_hash: str
    data_md5: str
    bins: int
    passed_alone: bool | None
    split: pd.DataFrame | None

    def same(self, other: "Evidence") -> bool:
        """Whether evaluation, test split and agreement of the exports with Keras are equal."""
        same_evaluation = (self.test_split_hash, self.evaluation) == (other.test_split_hash, other.evaluation)
        return same_evaluation and _agreement(self.export) == _agreement(other.export)


def candidate_evidence(candidate: Candidate, settings: Settings) -> Evidence:
    """Read the evidence of the current candidate from build/ and reports/."""
    return Evidence(
        Evaluation.read(EVALUATION),
        ExportReport.read(EXPORT_REPORT),
        _read_predictions(require_file(CANDIDATE / PREDICTIONS_FILENAME), candidate.label_set),
        candidate.test_split_hash,
        provenance.provenance()["data.md5"],
        settings.evaluate.calibration_bins,
        None,
        _current_split(),
    )


def write_evidence(folder: Path, candidate: Candidate, settings: Settings, independent_rules: Sequence[Rule]) -> str:
    """Write the evidence of the current candidate to a new folder.

    Args:
        folder: the folder to create; its name must be FOLDER, under which `logged_model.log_model` logs it.
        candidate: build/candidate/candidate.json.
        settings: the current params.yaml.
        independent_rules: the results of the rules that compare with no other version (`judgement.judge_alone`).

    Returns:
        The sha256 of the evidence.
    """
    folder.mkdir(parents=True)
    for source in (CANDIDATE / PREDICTIONS_FILENAME, EVALUATION, EXPORT_REPORT):
        shutil.copy(require_file(source), folder / source.name)
    _current_split().to_parquet(folder / SPLIT, index=False)
    origin = provenance.provenance()
    code = Path(__file__).parents[1]
    Measured(
        alone=tuple(independent_rules),
        catalog_sha256=sha256(require_file(CATALOG)),
        code={path.relative_to(code).as_posix(): sha256(path) for path in sorted(code.rglob("*.py"))},
        data_md5=origin["data.md5"],
        git=GitState(commit=origin["git.commit"], dirty=origin["git.dirty"] == "true"),
        label_set=candidate.label_set,
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
        test_split_hash=candidate.test_split_hash,
    ).write(folder / MEASURED)
    return folder_sha256(folder)


def _current_split() -> pd.DataFrame:
    return pd.read_parquet(require_file(SPLITS))[SPLIT_COLUMNS]


def folder_sha256(folder: Path) -> str:
    """Hex sha256 of the names and contents of the files in a folder, sorted by name."""
    files = sorted((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256("".join(f"{sha256(path)}  {name}\n" for name, path in files).encode()).hexdigest()


def load_evidence(client: "MlflowClient", version: "ModelVersion", hash_in_record: str | None) -> Evidence:
    """Load the evidence of a registered version and check its hash.

    Args:
        client: the client of the MLflow store.
        version: a version of the registered model.
        hash_in_record: the sha256 in the promotion record for this version (`promotion.evidence_of`), or None.

    Raises:
        EvidenceChanged: the hash differs from the tag of the version or from the promotion record.
        EvidenceLost: the evidence of an older version is no longer in its MLflow run.
        LesionflowError: the version was not registered by Lesionflow, or the evidence cannot be read.
    """
    hash_in_tag = version.tags.get(versions.EVIDENCE_TAG)
    if hash_in_record not in (None, hash_in_tag):
        reason = f"the promotion record says sha256 {hash_in_record}, and its tag {hash_in_tag or 'is gone'}"
        raise EvidenceChanged(_changed_message(version, reason))
    if hash_in_tag is None:
        return _legacy_evidence(client, version)
    with tempfile.TemporaryDirectory() as temporary:
        folder = _download(client, version, Path(temporary))
        digest = folder_sha256(folder)
        if digest != hash_in_tag:
            reason = f"its sha256 was {hash_in_tag} when the version was registered, and is {digest}"
            raise EvidenceChanged(_changed_message(version, reason))
        measured = Measured.read(folder / MEASURED, f"{MEASURED} of {_full_name(version)}")
        return Evidence(
            Evaluation.read(folder / EVALUATION.name, f"{EVALUATION.name} of {_full_name(version)}"),
            ExportReport.read(folder / EXPORT_REPORT.name, f"{EXPORT_REPORT.name} of {_full_name(version)}"),
            _read_predictions(folder / PREDICTIONS_FILENAME, measured.label_set),
            measured.test_split_hash,
            measured.data_md5,
            measured.params.evaluate.calibration_bins,
            all(rule.passed for rule in measured.alone),
            pd.read_parquet(folder / SPLIT) if (folder / SPLIT).exists() else None,
        )


def tag(version: "ModelVersion", name: str) -> str:
    """A tag that every version registered by Lesionflow has.

    Raises:
        LesionflowError: the version does not have this tag.
    """
    if name not in version.tags:
        raise LesionflowError(f"{_full_name(version)} has no tag {name}: Lesionflow did not register it, so the gate cannot judge it")
    return str(version.tags[name])


def label_set(version: "ModelVersion") -> LabelSet:
    """The label set in a version's tags.

    Raises:
        LesionflowError: the version has no such tags.
    """
    found = version_tags.label_set_of(version.tags)
    if found is None:
        raise LesionflowError(
            f"{_full_name(version)} has neither tag outputs nor task: Lesionflow did not register it, so the gate cannot judge it"
        )
    return found


def _changed_message(version: "ModelVersion", reason: str) -> str:
    return (
        f"the evidence of {_full_name(version)} was changed after it was registered: {reason}."
        " Restore its artifacts and tags from a backup, or delete the version in MLflow"
    )


def _download(client: "MlflowClient", version: "ModelVersion", temporary: Path) -> Path:
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        root = client.get_model_version_download_uri(version.name, str(version.version))
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=f"{root}/artifacts/{FOLDER}", dst_path=str(temporary)))
    except (MlflowException, OSError) as error:
        raise LesionflowError(
            f"the evidence of {_full_name(version)} cannot be read from its logged model ({version.source}):"
            f" {first_line(error)}. Restore its artifacts from a backup, or delete the version in MLflow"
        ) from None


def _legacy_evidence(client: "MlflowClient", version: "ModelVersion") -> Evidence:
    """The evidence of a version that an older release registered, from the artifacts of its run."""
    others = [other for other in client.search_model_versions(f"run_id = '{version.run_id}'") if other.version != version.version]
    if version.run_id and others:
        numbers = ", ".join(sorted((str(other.version) for other in others), key=int))
        raise EvidenceLost(
            f"the evidence of {_full_name(version)} is lost: it shares its MLflow run {version.run_id} with"
            f" version {numbers}, and the last of them to be registered wrote over it. {REGISTER_AGAIN}"
        )
    name, export_name = f"{REPORTS_IN_RUN}/{EVALUATION.name}", f"{REPORTS_IN_RUN}/{EXPORT_REPORT.name}"
    evaluation = Evaluation.parse(_artifact(client, version, name), f"{EVALUATION.name} of {_full_name(version)}")
    export = ExportReport.parse(_artifact(client, version, export_name), f"{EXPORT_REPORT.name} of {_full_name(version)}")
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        Path(file.name).write_bytes(_artifact(client, version, f"{EVALUATION_IN_RUN}/{PREDICTIONS_FILENAME}"))
        scored = _read_predictions(Path(file.name), label_set(version))
    metrics, recorded = evaluation.test.figures, version_tags.figure_texts(version.tags)
    if any(text != version_tags.interval_text(metrics[name]) for name, text in recorded.items()):
        raise EvidenceLost(
            f"the evidence of {_full_name(version)} is lost: its MLflow run {version.run_id} holds other figures than"
            f" its tags, so a version that was deleted since wrote over it. {REGISTER_AGAIN}"
        )
    split_hash, data_md5 = (tag(version, name) for name in ("test_split_hash", "data.md5"))
    bins = _infer_bins(evaluation.test.calibration_error.value, scored)
    return Evidence(evaluation, export, scored, split_hash, data_md5, bins, None, None)


def _infer_bins(recorded: float, scored: Predictions) -> int:
    """The number of bins that reproduces a recorded calibration error, for reports that do not record it; 15 if none does."""
    all_images, default = np.arange(len(scored.images)), 15
    matching = (bins for bins in (default, *range(2, 101)) if abs(scored.headline("calibration_error", all_images, bins) - recorded) < 1e-9)
    return next(matching, default)


def _read_predictions(path: Path, labels: LabelSet) -> Predictions:
    try:
        return Predictions.of_table(former_predictions.with_output_diagnoses(pd.read_parquet(path), labels), labels)
    except (KeyError, ValueError, OSError) as error:
        raise LesionflowError(f"{PREDICTIONS_FILENAME} cannot be read: {first_line(error)}") from None


def _artifact(client: "MlflowClient", version: "ModelVersion", path: str) -> bytes:
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as folder:
        try:
            return Path(client.download_artifacts(str(version.run_id), path, folder)).read_bytes()
        except (MlflowException, OSError) as error:
            raise EvidenceLost(
                f"{_full_name(version)} cannot be judged: its MLflow run {version.run_id or 'none'}"
                f" gives no {path} ({first_line(error)}). {REGISTER_AGAIN}"
            ) from None


def _agreement(export: ExportReport) -> dict[str, tuple[float, bool]]:
    return {name: (row.same_top1, row.written) for name, row in export.precisions.items()}


def _full_name(version: "ModelVersion") -> str:
    return f"{version.name} version {version.version}"
