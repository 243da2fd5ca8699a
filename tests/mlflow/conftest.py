"""A real MLflow store with small versions in it, registered as the pipeline registers its own; no TensorFlow."""

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
from components.core.classes import CLASSES
from components.core.files import read_json, sha256, write_json
from components.core.paths import (
    CANDIDATE,
    CATALOG,
    CURVES,
    EVALUATION,
    EVALUATION_PLOTS,
    EXPORT_REPORT,
    EXPORTED,
    PREDICTIONS_FILENAME,
    REPORTS,
    SPLITS,
)
from components.core.reports.candidate import Candidate
from components.core.reports.evaluation import Estimate, Evaluation
from components.core.reports.registration import Rule
from components.evaluation.predictions import HEADLINE_METRICS, Predictions
from components.evaluation.shifts import SHIFTS
from components.imaging import images
from components.registry import evidence, judgement, promotion, promotion_record, versions
from components.runtime import params_file
from components.tracking import store
from tests.support import documents
from tests.support.project import ROOT

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

MODEL = "skin-lesion-mobilenetv2"
MD5 = "0123456789abcdef.dir"
PER_CLASS = 4


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database with its tables and nothing in them: making them takes longer than most tests."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}", f"sqlite:///{path}").search_experiments(max_results=1)
    return path


@dataclass(frozen=True)
class Lab:
    """A project's folder with params.yaml, data/ and a store."""

    root: Path
    client: "MlflowClient"

    def version(
        self, wrong: int = 0, split: str = "split a", judged: bool = True, export: float = 1.0, model: Any = None, shifts: bool = True
    ) -> str:
        """Register a version that misses the first `wrong` images of every class; returns its number.

        Its files stay where the register stage reads a candidate's, so that stage finds this candidate registered before.
        """
        card = self.candidate(self.scored(wrong), split=split, export=export, shifts=shifts)
        held = params_file.load()
        found = evidence.candidate_evidence(card, held)
        run = self.client.create_run(store.experiment_id(self.client)).info.run_id
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / evidence.FOLDER
            digest = evidence.write_evidence(folder, card, held, judgement.judge_alone(found, held))
            source = self.log(run, folder, model)
        tags = register.version_tags(card, found.evaluation, (), digest)
        version = versions.create_version(self.client, MODEL, source, run, tags)
        number = str(version.version)
        if judged:
            versions.tag_verdict(self.client, MODEL, number, versions.Verdict(judgement.judge_alone(found, held), None))
        return number

    def candidate(
        self,
        scored: Predictions,
        model_sha256: str = "",
        phase_sha256: str = "phase a",
        split: str = "split a",
        export: float = 1.0,
        shifts: bool = True,
    ) -> Candidate:
        """Write what the register stage reads: a candidate with these test predictions; returns its card."""
        test = documents.figures_on_test(len(scored.images), **headlines(scored))
        still = {name: documents.shift_cost(test.balanced_accuracy.value, 0.0, 0.0, 0.0) for name in SHIFTS}
        measured = {"shifts": still, "collections_left_out": {}} if shifts else {}
        documents.evaluation(test=test, test_split_hash=split, **measured).write(EVALUATION)
        documents.export_report(export).write(EXPORT_REPORT)
        card = documents.candidate(phase_sha256=phase_sha256, model_sha256=model_sha256 or uuid.uuid4().hex, test_split_hash=split)
        card.write(CANDIDATE / "candidate.json")
        scored.table().to_parquet(CANDIDATE / PREDICTIONS_FILENAME, index=False)
        scored.images.assign(side="test").to_parquet(SPLITS)
        scored.images.assign(sha256=[sha256(self.root / "data" / path) for path in scored.images["path"]]).to_parquet(CATALOG)
        for folder in (EVALUATION_PLOTS, EXPORTED, CURVES, REPORTS / "validation", REPORTS / "split"):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "note.txt").write_text(card.model_sha256)
        pd.DataFrame({"epoch": [0, 1], "loss": [1.0, 0.5], "val_loss": [1.1, 0.6]}).to_csv(CURVES / "train.csv", index=False)
        return card

    def version_of_old(self, scored: Predictions, run: str | None = None) -> str:
        """Register a version as it was done before versions had evidence of their own: in a run, perhaps another version's."""
        run = run or self.client.create_run(store.experiment_id(self.client)).info.run_id
        card = self.candidate(scored)
        for report in (EVALUATION, EXPORT_REPORT):
            document = read_json(report)
            del document["schema_version"]  # which reports had not, then
            write_json(report, document)
            self.client.log_artifact(run, str(report), evidence.REPORTS_IN_RUN)
        self.client.log_artifact(run, str(CANDIDATE / PREDICTIONS_FILENAME), evidence.EVALUATION_IN_RUN)
        tags = register.version_tags(card, Evaluation.read(EVALUATION), (), "")
        tags = {name: value for name, value in tags.items() if name not in (versions.EVIDENCE_TAG, "overrides")}
        return str(versions.create_version(self.client, MODEL, f"runs:/{run}/model", run, tags).version)

    def log(self, run: str, folder: Path, model: Any) -> str:
        """Log a model with evidence; without one, a logged model that holds the evidence alone, which takes less time."""
        import mlflow

        if model is not None:
            with mlflow.start_run(run_id=run):
                artifacts = {evidence.FOLDER: str(folder)}
                return mlflow.pyfunc.log_model(name="model", python_model=model, artifacts=artifacts, pip_requirements=[]).model_uri
        logged = self.client.create_logged_model(store.experiment_id(self.client), "model", run)
        self.client.log_model_artifacts(logged.model_id, str(folder), f"artifacts/{evidence.FOLDER}")
        self.client.finalize_logged_model(logged.model_id, "READY")
        return logged.model_uri

    def missing(self, melanomas: int) -> Predictions:
        """The predictions of a model that misses so many melanomas and nothing else."""
        right, wrong = self.scored(0), self.scored(PER_CLASS)
        missed = np.isin(np.arange(len(right.images)), np.flatnonzero(right.critical)[:melanomas])
        return Predictions(right.images, np.where(missed[:, None], wrong.probabilities, right.probabilities), right.task)

    def evidence_folder(self, version: str) -> Path:
        """Where the local store keeps a version's evidence."""
        location = self.client.get_model_version_download_uri(MODEL, version)
        return Path(location.removeprefix("file://")) / "artifacts" / evidence.FOLDER

    def scored(self, wrong: int) -> Predictions:
        rows = [(f"{name}/{name}_{at}.png", name, f"{name}{at}") for name in CLASSES for at in range(PER_CLASS)]
        frame = pd.DataFrame(rows, columns=["path", "diagnosis", "group"])
        paths = [self.root / "data" / path for path in frame["path"]]
        frame["pixels_sha256"] = [images.pixels_sha256(images.decode(path.read_bytes())) for path in paths]
        truth = np.repeat(np.arange(len(CLASSES)), PER_CLASS)
        missed = np.tile(np.arange(PER_CLASS) < wrong, len(CLASSES))
        called = np.where(missed, (truth + 1) % len(CLASSES), truth)
        return Predictions(frame, np.eye(len(CLASSES))[called] * 0.91 + 0.01, "multiclass")

    def look(self) -> promotion.ChampionState:
        return promotion.read_champion_state(self.client, MODEL)

    def champion(self) -> str | None:
        found = versions.version_by_alias(self.client, MODEL, versions.CHAMPION)
        return str(found.version) if found else None

    def move_in_ui(self, version: str) -> None:
        """What MLflow's page does where a person moves the alias there."""
        self.client.set_registered_model_alias(MODEL, versions.CHAMPION, version)

    def move(self, version: str, source: str = promotion.MANUAL) -> promotion_record.Promotion:
        return promotion.move_champion(self.client, self.look(), version, promotion.Cause(source, "passed"))

    def get(self, version: str) -> "ModelVersion":
        return self.client.get_model_version(MODEL, version)

    def params(self, section: str, **values: Any) -> None:
        document = yaml.safe_load((self.root / "params.yaml").read_text(encoding="utf-8"))
        self.top_params(**{section: document[section] | values})

    def top_params(self, **values: Any) -> None:
        path = self.root / "params.yaml"
        document = yaml.safe_load(path.read_text(encoding="utf-8")) | values
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


@pytest.fixture
def new_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path, make_dataset: Callable[..., Path]) -> Callable[[], Lab]:
    """Make an empty registry, and images of nine classes, and go there; each call makes another one."""
    data = make_dataset(tmp_path / "images", PER_CLASS, 24)
    made: list[Path] = []

    def make() -> Lab:
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:  # MLflow itself sets its store's address there
            monkeypatch.delenv(name)
        root = tmp_path / f"lab{len(made)}"
        made.append(root)
        (root / "mlruns").mkdir(parents=True)
        monkeypatch.chdir(root)
        shutil.copy(empty_store, root / "mlruns/mlflow.db")
        shutil.copy(ROOT / "params.yaml", root)
        shutil.copytree(data, root / "data")
        (root / "data.dvc").write_text(f"outs:\n- md5: {MD5}\n")
        lab = Lab(root, store.connect())
        lab.params("evaluate", bootstrap_resamples=100)
        lab.params("register", min_test_groups=1, min_critical_groups=1)
        return lab

    return make


@pytest.fixture
def lab(new_lab: Callable[[], Lab]) -> Lab:
    """An empty registry, and images of nine classes."""
    return new_lab()


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


def headlines(scored: Predictions) -> dict[str, Estimate]:
    """The headline figures without the time that a bootstrap takes: intervals of no width."""
    figures = {name: scored.headline(name, np.arange(len(scored.images)), 15) for name in HEADLINE_METRICS}
    return {name: Estimate(value, value, value) for name, value in figures.items()}


def rules(*failing: str) -> list[Rule]:
    """A verdict with these rules failed."""
    names = ("balanced accuracy floor", "melanoma sensitivity floor")
    return [Rule(name, name not in failing, f"{name} says so") for name in names]


def as_document(text: str) -> Any:
    """The JSON that stands alone on standard output."""
    return json.loads(text)
