"""A real MLflow store with small versions in it, registered as the pipeline registers its own; no TensorFlow."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import yaml

from components import gate, images, judging, ledger, promotion, registry, settings, tracking
from components.classes import CLASSES
from components.paths import EVALUATION, EXPORT_REPORT, PREDICTIONS
from components.scores import HEADLINES, Scored
from components.shifts import SHIFTS
from tests.conftest import ROOT

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

MODEL = "skin-lesion-mobilenetv2"
MD5 = "0123456789abcdef.dir"
PER_CLASS = 4
UNMOVED = {"value": 0.0, "low": 0.0, "high": 0.0}


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
        """Register a version that misses the first `wrong` images of every class; returns its number."""
        table = self.scored(wrong)
        figures = {name: table.headline(name, np.arange(len(table.images)), 15) for name in HEADLINES}
        test = {name: {"value": value, "low": value, "high": value} for name, value in figures.items()}
        run = self.client.create_run(tracking.experiment_id(self.client)).info.run_id
        still = {name: {"balanced_accuracy": figures["balanced_accuracy"], "drop": UNMOVED} for name in SHIFTS}
        evaluation = {"test": {"images": len(table.images), **test}, **({"shifts": still, "collections_left_out": {}} if shifts else {})}
        self.client.log_dict(run, evaluation, f"{judging.REPORTS_IN_RUN}/{EVALUATION.name}")
        self.client.log_dict(run, {"float16": {"same_top1": export}}, f"{judging.REPORTS_IN_RUN}/{EXPORT_REPORT.name}")
        file = self.root / PREDICTIONS
        table.table().to_parquet(file, index=False)
        self.client.log_artifact(run, str(file), judging.EVALUATION_IN_RUN)
        tags = {"task": "multiclass", "phase": "frozen", "test_split_hash": split, "data.md5": MD5, "model_sha256": run}
        tags |= {f"test.{name}": registry.interval_text(row) for name, row in test.items()}
        source = self.log(run, model) if model is not None else f"runs:/{run}/model"
        version = registry.create_version(self.client, MODEL, source, run, tags)
        number = str(version.version)
        if judged:
            evidence = judging.of_version(self.client, version)
            registry.tag_verdict(self.client, MODEL, number, judging.judge(self.client, evidence, None, settings.load()), None)
        return number

    def log(self, run: str, model: Any) -> str:
        import mlflow

        with mlflow.start_run(run_id=run):
            return mlflow.pyfunc.log_model(name="model", python_model=model, pip_requirements=[]).model_uri

    def scored(self, wrong: int) -> Scored:
        rows = [(f"{name}/{name}_{at}.png", name, f"{name}{at}") for name in CLASSES for at in range(PER_CLASS)]
        frame = pd.DataFrame(rows, columns=["path", "diagnosis", "group"])
        paths = [self.root / "data" / path for path in frame["path"]]
        frame["pixels_sha256"] = [images.pixels_sha256(images.decode(path.read_bytes())) for path in paths]
        truth = np.repeat(np.arange(len(CLASSES)), PER_CLASS)
        missed = np.tile(np.arange(PER_CLASS) < wrong, len(CLASSES))
        called = np.where(missed, (truth + 1) % len(CLASSES), truth)
        return Scored(frame, np.eye(len(CLASSES))[called] * 0.91 + 0.01, "multiclass")

    def look(self) -> promotion.Standing:
        return promotion.look(self.client, MODEL)

    def champion(self) -> str | None:
        found = registry.alias(self.client, MODEL, registry.CHAMPION)
        return str(found.version) if found else None

    def move_in_ui(self, version: str) -> None:
        """What MLflow's page does where a person moves the alias there."""
        self.client.set_registered_model_alias(MODEL, registry.CHAMPION, version)

    def move(self, version: str, source: str = promotion.BY_HAND) -> ledger.Promotion:
        return promotion.move(self.client, self.look(), version, source, "passed")

    def get(self, version: str) -> "ModelVersion":
        return self.client.get_model_version(MODEL, version)

    def params(self, section: str, **values: Any) -> None:
        path = self.root / "params.yaml"
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        document[section] |= values
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path, make_dataset: Callable[..., Path]) -> Iterator[Lab]:
    """An empty registry, and images of nine classes."""
    for name in list(os.environ):
        if name.startswith("MLFLOW_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlruns").mkdir()
    shutil.copy(empty_store, tmp_path / "mlruns/mlflow.db")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    make_dataset(tmp_path / "data", PER_CLASS, 24)
    made = Lab(tmp_path, tracking.connect())
    made.params("evaluate", bootstrap=100)
    yield made


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


def rules(*failing: str) -> list[gate.Rule]:
    """A verdict with these rules failed."""
    names = ("balanced accuracy floor", "melanoma sensitivity floor")
    return [gate.Rule(name, name not in failing, f"{name} says so") for name in names]


def as_document(text: str) -> Any:
    """The JSON that stands alone on standard output."""
    return json.loads(text)
