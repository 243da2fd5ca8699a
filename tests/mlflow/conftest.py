"""A real MLflow store with small versions, registered as the pipeline registers them, without TensorFlow."""

import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import yaml

from components import register
from components.core.files import read_json, sha256, write_json
from components.core.paths import (
    CANDIDATE,
    CATALOG,
    CLINIC,
    CURVES,
    EVALUATION,
    EVALUATION_PLOTS,
    EXPORT_REPORT,
    EXPORTED,
    INDEX_REPORT,
    PREDICTIONS_FILENAME,
    REPORTS,
    SPLITS,
)
from components.core.reports.candidate import Candidate
from components.core.reports.evaluation import Estimate, Evaluation
from components.core.reports.registration import Rule
from components.evaluation.predictions import HEADLINE_METRICS, Predictions, defined
from components.evaluation.shifts import SHIFTS
from components.imaging import images
from components.registry import evidence, judgement, promotion, promotion_record, run_report, versions
from components.runtime import params_file
from components.tracking import store
from tests.support import documents
from tests.support.labels import CLASSES, ISIC9
from tests.support.project import ROOT

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

MODEL = "skin-lesion-mobilenetv2"
MD5 = "0123456789abcdef.dir"
PER_CLASS = 4


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with empty tables, created once because that takes longer than most tests."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}", f"sqlite:///{path}").search_experiments(max_results=1)
    return path


@dataclass(frozen=True)
class RegistryLab:
    """A project folder with params.yaml, data/ and an MLflow store."""

    root: Path
    client: "MlflowClient"

    def register_version(
        self, wrong: int = 0, split: str = "split a", with_verdict: bool = True, export: float = 1.0, model: Any = None, shifts: bool = True
    ) -> str:
        """Register a version that misclassifies the first `wrong` images of every class; return its number.

        The files of the candidate stay in place, so the register stage finds that this candidate is already registered.
        """
        candidate = self.write_candidate(self.predictions(wrong), split=split, export=export, shifts=shifts)
        return self.register_candidate(candidate, with_verdict, model)

    def register_candidate(self, candidate: Candidate, with_verdict: bool = True, model: Any = None) -> str:
        """Register the candidate whose files `write_candidate` wrote, with this model; return the number of the version."""
        settings = params_file.load()
        own_evidence = evidence.candidate_evidence(candidate, settings)
        run = self.client.create_run(store.experiment_id(self.client)).info.run_id
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / evidence.FOLDER
            digest = evidence.write_evidence(folder, candidate, settings, judgement.judge_alone(own_evidence, settings))
            source = self.log_evidence(run, folder, model)
        tags = register.version_tags(candidate, own_evidence.evaluation, (), digest)
        version = versions.create_version(self.client, MODEL, source, run, tags)
        number = str(version.version)
        if with_verdict:
            versions.tag_verdict(self.client, MODEL, number, versions.Verdict(judgement.judge_alone(own_evidence, settings), None))
        return number

    def write_candidate(
        self,
        predictions: Predictions,
        model_sha256: str = "",
        phase_sha256: str = "phase a",
        split: str = "split a",
        export: float = 1.0,
        shifts: bool = True,
        seen: pd.DataFrame | None = None,
    ) -> Candidate:
        """Write the files that the register stage reads, for a candidate with these test predictions; return the candidate.

        `seen` is the rest of its split, the images on which it was trained, stopped and calibrated; without it there are none.
        """
        test = documents.metrics_on_test(len(predictions.images), **headline_estimates(predictions))
        unchanged_shifts = {name: documents.shift_result(test.balanced_accuracy.value, 0.0, 0.0, 0.0) for name in SHIFTS}
        measurements = {"shifts": unchanged_shifts, "collections_left_out": {}} if shifts else {}
        labels = {"label_set": predictions.labels}
        documents.evaluation(test=test, test_split_hash=split, **labels, **measurements).write(EVALUATION)
        documents.clinic().write(CLINIC)
        documents.export_report(export).write(EXPORT_REPORT)
        documents.index_report().write(INDEX_REPORT)
        labels["outputs"] = predictions.labels.outputs
        hashes = {"phase_sha256": phase_sha256, "model_sha256": model_sha256 or uuid.uuid4().hex, "test_split_hash": split}
        candidate = documents.candidate(**hashes, **labels)
        candidate.write(CANDIDATE / "candidate.json")
        predictions.table().to_parquet(CANDIDATE / PREDICTIONS_FILENAME, index=False)
        pd.concat([predictions.images.assign(side="test"), seen], ignore_index=True).to_parquet(SPLITS)
        files = predictions.images.assign(sha256=[sha256(self.root / "data" / path) for path in predictions.images["path"]])
        files.assign(format="PNG", usable=True, reason="").to_parquet(CATALOG)
        for folder in (EVALUATION_PLOTS, EXPORTED, CURVES, REPORTS / "validation", REPORTS / "split"):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "note.txt").write_text(candidate.model_sha256)
        pd.DataFrame({"epoch": [0, 1], "loss": [1.0, 0.5], "val_loss": [1.1, 0.6]}).to_csv(CURVES / "train.csv", index=False)
        return candidate

    def register_legacy_version(self, predictions: Predictions, run: str | None = None) -> str:
        """Register a version as older releases did, with its reports in an MLflow run, which versions could share."""
        run = run or self.client.create_run(store.experiment_id(self.client)).info.run_id
        candidate = self.write_candidate(predictions)
        for report in (EVALUATION, EXPORT_REPORT):
            document = read_json(report)
            del document["schema_version"]  # older reports had no schema version
            write_json(report, document)
            self.client.log_artifact(run, str(report), evidence.REPORTS_IN_RUN)
        self.client.log_artifact(run, str(CANDIDATE / PREDICTIONS_FILENAME), evidence.EVALUATION_IN_RUN)
        tags = register.version_tags(candidate, Evaluation.read(EVALUATION), (), "")
        tags = {name: value for name, value in tags.items() if name not in (versions.EVIDENCE_TAG, "overrides")}
        return str(versions.create_version(self.client, MODEL, f"runs:/{run}/model", run, tags).version)

    def log_evidence(self, run: str, folder: Path, model: Any) -> str:
        """Log a model with evidence; without a model, log the evidence alone, which is faster."""
        import mlflow

        if model is not None:
            with mlflow.start_run(run_id=run):
                artifacts = {evidence.FOLDER: str(folder)}
                return mlflow.pyfunc.log_model(name="model", python_model=model, artifacts=artifacts, pip_requirements=[]).model_uri
        logged = self.client.create_logged_model(store.experiment_id(self.client), "model", run)
        self.client.log_model_artifacts(logged.model_id, str(folder), f"artifacts/{evidence.FOLDER}")
        self.client.finalize_logged_model(logged.model_id, "READY")
        return logged.model_uri

    def predictions_missing(self, melanomas: int) -> Predictions:
        """Predictions that misclassify this number of melanomas and nothing else."""
        correct, wrong = self.predictions(0), self.predictions(PER_CLASS)
        is_wrong = np.isin(np.arange(len(correct.images)), np.flatnonzero(correct.critical)[:melanomas])
        return Predictions(correct.images, np.where(is_wrong[:, None], wrong.probabilities, correct.probabilities), correct.labels)

    def evidence_folder(self, version: str) -> Path:
        """The folder with the evidence of a version in the local store."""
        location = self.client.get_model_version_download_uri(MODEL, version)
        return Path(location.removeprefix("file://")) / "artifacts" / evidence.FOLDER

    def predictions(self, wrong: int) -> Predictions:
        rows = [(f"{name}/{name}_{index}.png", name, f"{name}{index}") for name in CLASSES for index in range(PER_CLASS)]
        frame = pd.DataFrame(rows, columns=["path", "diagnosis", "group"])
        paths = [self.root / "data" / path for path in frame["path"]]
        frame["pixels_sha256"] = [images.pixels_sha256(images.decode(path.read_bytes())) for path in paths]
        truth = np.repeat(np.arange(len(CLASSES)), PER_CLASS)
        is_wrong = np.tile(np.arange(PER_CLASS) < wrong, len(CLASSES))
        predicted = np.where(is_wrong, (truth + 1) % len(CLASSES), truth)
        return Predictions(frame, np.eye(len(CLASSES))[predicted] * 0.91 + 0.01, ISIC9)

    def champion_state(self) -> promotion.ChampionState:
        return promotion.read_champion_state(self.client, MODEL)

    def champion(self) -> str | None:
        version = versions.version_by_alias(self.client, MODEL, versions.CHAMPION)
        return str(version.version) if version else None

    def move_champion_in_ui(self, version: str) -> None:
        """Move the alias as the MLflow page does."""
        self.client.set_registered_model_alias(MODEL, versions.CHAMPION, version)

    def move_champion(self, version: str, source: str = promotion.MANUAL) -> promotion_record.Promotion:
        return promotion.move_champion(self.client, self.champion_state(), version, promotion.Cause(source, "passed"))

    def get_version(self, version: str) -> "ModelVersion":
        return self.client.get_model_version(MODEL, version)

    def set_params(self, section: str, **values: Any) -> None:
        document = yaml.safe_load((self.root / "params.yaml").read_text(encoding="utf-8"))
        self.set_top_level_params(**{section: document[section] | values})

    def set_top_level_params(self, **values: Any) -> None:
        path = self.root / "params.yaml"
        document = yaml.safe_load(path.read_text(encoding="utf-8")) | values
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


@pytest.fixture
def new_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path, make_dataset: Callable[..., Path]
) -> Callable[[], RegistryLab]:
    """Create an empty registry with images of nine classes and change to its folder; each call creates another one."""
    data = make_dataset(tmp_path / "images", PER_CLASS, 24)
    created: list[Path] = []
    # Drawing its plots takes longer than most tests; tests/unit/registry/test_run_report.py and the pipeline tests write the real page.
    monkeypatch.setattr(run_report, "report_page", lambda registration: f"<p>version {registration.version}</p>")

    def make() -> RegistryLab:
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:  # MLflow itself sets the address of its store
            monkeypatch.delenv(name)
        root = tmp_path / f"registry{len(created)}"
        created.append(root)
        (root / "mlruns").mkdir(parents=True)
        monkeypatch.chdir(root)
        shutil.copy(empty_store, root / "mlruns/mlflow.db")
        shutil.copy(ROOT / "params.yaml", root)
        shutil.copytree(data, root / "data")
        (root / "data.dvc").write_text(f"outs:\n- md5: {MD5}\n")
        registry = RegistryLab(root, store.connect())
        registry.set_params("evaluate", bootstrap_resamples=100)
        registry.set_params("register", min_test_groups=1, min_critical_groups=1, min_comparable_groups=1)
        return registry

    return make


@pytest.fixture
def registry(new_registry: Callable[[], RegistryLab]) -> RegistryLab:
    """An empty registry with images of nine classes."""
    return new_registry()


@pytest.fixture
def run_cli() -> Callable[..., Any]:
    """Run the command line in this process; the result has exit_code, stdout and stderr."""
    from click.testing import CliRunner

    from app.cli import main

    def run(*arguments: str) -> Any:
        result = CliRunner().invoke(main, list(arguments), env={"COLUMNS": "200"})
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


def lookup_model(true_classes: dict[str, str], wrong: str = "") -> object:
    """A pyfunc model that looks up the class of each image by its hash, and predicts the next class for images of class `wrong`."""
    from mlflow.pyfunc import PythonModel

    class LookupModel(PythonModel):
        def predict(self, context, model_input: pd.DataFrame, params=None) -> pd.DataFrame:  # noqa: ARG002
            rows = []
            for content in model_input["image"]:
                correct = classes.index(class_of_hash[hashlib.sha256(content).hexdigest()])
                predicted = (correct + (classes[correct] == misclassified)) % len(classes)
                rows.append([0.92 if index == predicted else 0.01 for index in range(len(classes))])
            frame = pd.DataFrame(rows, columns=list(classes))
            frame.insert(0, "diagnosis", frame.idxmax(axis=1))
            return frame

    class_of_hash, misclassified, classes = true_classes, wrong, tuple(CLASSES)
    return LookupModel()


def model_of(registry: RegistryLab, wrong: str = "") -> object:
    return lookup_model({hashlib.sha256(p.read_bytes()).hexdigest(): p.parent.name for p in (registry.root / "data").rglob("*.png")}, wrong)


def headline_estimates(predictions: Predictions) -> dict[str, Estimate | None]:
    """The headline metrics with intervals of zero width, which need no bootstrap; None where a metric is not defined."""
    values = {
        name: predictions.headline(name, np.arange(len(predictions.images)), 15) for name in defined(HEADLINE_METRICS, predictions.labels)
    }
    found = {name: Estimate(value, value, value) for name, value in values.items()}
    return dict.fromkeys(HEADLINE_METRICS) | found


def rules(*failing: str) -> list[Rule]:
    """The results of two rules, of which these fail."""
    names = ("balanced accuracy floor", "melanoma sensitivity floor")
    return [Rule(name, name not in failing, f"{name} says so") for name in names]


def parse_json(text: str) -> Any:
    """Parse standard output that holds JSON alone."""
    return json.loads(text)
