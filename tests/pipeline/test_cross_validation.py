"""`lesionflow cv` on a built project."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import yaml
from mlflow import MlflowClient

from components.core.escaping import sqlite_uri
from tests.support.project import Project

pytestmark = pytest.mark.timeout(900)

FINE_TUNING = {
    "trials": 2,
    "heads": 1,
    "space": {
        "finetune.learning_rate": {"low": 0.0001, "high": 0.001, "log": True},
        "finetune.unfreeze_from": {"choices": ["block_16", "block_15"]},
        "augment.brightness": {"choices": [0.25, 0.3]},
    },
}


@pytest.fixture(scope="module")
def lab(project: Project) -> Project:
    project.set_params({"cross_validation": {"folds": 3, "repeats": 1}, "train": {"epochs": 2}})
    return project


def report(lab: Project) -> dict:
    return json.loads((lab.root / "reports/cross_validation.json").read_text(encoding="utf-8"))


def test_cv_measures_every_training_and_validation_image_once(lab):
    result = lab.lesionflow("cv")

    assert result.exit_code == 0, result.output
    found, rows = report(lab), pd.read_parquet(lab.root / "build/splits.parquet")
    assert found["images"] == (rows["side"] != "test").sum() == sum(fold["images"] for fold in found["folds"])
    assert len(found["folds"]) == 3
    assert "test was not read" in result.output
    assert (lab.root / "reports/cross_validation/folds.png").exists()


def test_cv_has_a_parent_run_with_a_child_for_each_fold(lab):
    client = MlflowClient(sqlite_uri(lab.root / "mlruns/mlflow.db"))
    [experiment] = [item for item in client.search_experiments() if item.name == "skin-lesions"]
    [parent] = client.search_runs([experiment.experiment_id], "tags.kind = 'cross-validation'")
    children = client.search_runs([experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")

    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["mean/balanced_accuracy"] == pytest.approx(report(lab)["mean"]["balanced_accuracy"]["value"])
    assert sorted(run.data.metrics["accuracy"] for run in children) == sorted(fold["figures"]["accuracy"] for fold in report(lab)["folds"])


@pytest.mark.parametrize("phase", ["frozen", pytest.param("finetuned", marks=pytest.mark.sweep)])
def test_figures_are_the_same_without_a_trace_of_test(lab, tmp_path, phase):
    before = measured(lab, phase)
    with hidden_test(lab, tmp_path):
        shutil.rmtree(lab.root / "build/cv")  # kept results, and embedded views
        assert measured(lab, phase) == before

    assert before["phase"] == phase
    if phase == "finetuned":
        assert measured(lab, "frozen")["mean"] != before["mean"]
    assert not [path for path in (lab.root / "build/cv/finetuning").glob("*") if path.is_dir()]


@contextmanager
def hidden_test(lab: Project, aside: Path) -> Iterator[None]:
    """A project without the test images, their rows and their shards."""
    table, shards = lab.root / "build/splits.parquet", lab.root / "build/shards/test"
    rows = pd.read_parquet(table)
    images = {lab.root / "data" / path: aside / str(number) for number, path in enumerate(rows.loc[rows["side"] == "test", "path"])}
    moved = {**images, shards: aside / "shards", table: aside / "splits.parquet"}
    for path, target in moved.items():
        shutil.move(path, target)
    rows[rows["side"] != "test"].to_parquet(table, index=False)
    try:
        yield
    finally:
        for path, target in moved.items():
            shutil.move(target, path)


def measured(lab: Project, phase: str) -> dict:
    """The report of a cross-validation that ends with this phase."""
    result = lab.lesionflow("cv", "--phase", phase)
    assert result.exit_code == 0, result.output
    return report(lab)


def test_finished_folds_are_not_trained_again(lab):
    last = max((lab.root / "build/cv/folds").iterdir(), key=lambda folder: folder.stat().st_mtime_ns)
    kept = sorted(last.rglob("held_out.parquet"))
    times = [path.stat().st_mtime_ns for path in kept]
    shutil.rmtree(kept[0].parent)

    assert lab.lesionflow("cv").exit_code == 0
    assert [path.stat().st_mtime_ns for path in kept][1:] == times[1:]
    assert kept[0].exists()


def test_too_many_folds_are_an_error_of_one_line(lab):
    lab.set_params({"cross_validation": {"folds": 20, "repeats": 1}})

    result = lab.lesionflow("cv")

    assert result.exit_code == 1
    assert result.output.splitlines()[-1].startswith("error: too few lesions for 20 folds: ")


def test_search_changes_no_file_but_its_own_and_apply_changes_params(lab):
    lab.set_params({"cross_validation": {"folds": 3, "repeats": 1}, "tuning": {"trials": 3, "finetuned": FINE_TUNING}})
    before = (lab.root / "params.yaml").read_text(encoding="utf-8")

    result = lab.lesionflow("tune")

    assert result.exit_code == 0, result.output
    assert (lab.root / "params.yaml").read_text(encoding="utf-8") == before
    found = json.loads((lab.root / "reports/tuning.json").read_text(encoding="utf-8"))
    assert found["phase"] == "finetuned"
    assert sum(found["counts"].values()) == FINE_TUNING["trials"]
    assert sum(found["head"]["counts"].values()) == 3
    assert {path.name for path in (lab.root / "reports/tuning").iterdir()} >= {"history.png", "finetuned_history.png"}
    assert not [path for path in (lab.root / "build/tuning").glob("*/*") if path.is_dir()]
    declined = lab.lesionflow("tune", "apply")
    assert (lab.root / "params.yaml").read_text(encoding="utf-8") == before, declined.output
    assert lab.lesionflow("tune", "apply", "--yes").exit_code == 0
    changed = yaml.safe_load((lab.root / "params.yaml").read_text(encoding="utf-8"))
    assert {key: changed[key.partition(".")[0]][key.partition(".")[2]] for key in found["best"]} == found["best"]


def test_search_counts_each_trial_once_by_either_objective(lab):
    lab.set_params({"tuning": {"trials": 3, "objective": "cross_validation", "finetuned": {**FINE_TUNING, "trials": 0}}})
    assert lab.lesionflow("tune").exit_code == 0
    assert lab.lesionflow("tune").exit_code == 0
    found = json.loads((lab.root / "reports/tuning.json").read_text(encoding="utf-8"))

    assert sum(found["counts"].values()) == 3
    client = MlflowClient(sqlite_uri(lab.root / "mlruns/mlflow.db"))
    [experiment] = [item for item in client.search_experiments() if item.name == "skin-lesions"]
    children = client.search_runs([experiment.experiment_id], "params.state LIKE '%'", max_results=100)
    assert len(children) == 6 + FINE_TUNING["trials"]
