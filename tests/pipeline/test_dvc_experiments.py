"""DVC's own experiments, queued and run in a copy of the project that DVC deletes."""

import json
import shlex

import pytest
from mlflow import MlflowClient

from components.core.escaping import sqlite_uri
from components.runtime.params_file import load
from tests.support.project import ROOT, Project

pytestmark = [pytest.mark.timeout(900), pytest.mark.experiments]
HEADLINES_AT_MOST = 12
COLUMNS_AT_MOST = 70


@pytest.fixture(scope="module")
def clinic_project(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the built project with its store, everything committed, as DVC's experiments need it."""
    copy = project.copy(tmp_path_factory.mktemp("experiments") / "project", store=True)
    copy.repro()
    copy.run("git", "add", "--all")
    copy.run("git", "commit", "--quiet", "--message", "Run the pipeline", "--allow-empty")
    return copy


def test_queued_experiment_is_in_store_of_project_under_its_name_and_moves_no_alias(clinic_project):
    client = MlflowClient(sqlite_uri(clinic_project.root / "mlruns/mlflow.db"))
    model = load(clinic_project.root / "params.yaml").registration.registered_model
    before = client.get_registered_model(model)

    clinic_project.run("dvc", "exp", "run", "--queue", "--name", "ward-b", "--set-param", "evaluate.bootstrap_resamples=110")
    output = clinic_project.run("dvc", "exp", "run", "--run-all").stdout

    found = client.search_model_versions(f"name = '{model}' and tags.`dvc.experiment` = 'ward-b'")
    assert len(found) == 1, output
    assert client.get_run(found[0].run_id).info.run_name.startswith("ward-b ")
    assert client.get_registered_model(model).aliases == before.aliases
    assert f"experiments move no alias: `lesionflow champion promote {found[0].version}`" in output
    assert list((clinic_project.root / "mlruns/artifacts").rglob(f"{found[0].run_id}")), "the run's files are not in the project's store"


def test_promoting_an_experiment_asks_the_gate(clinic_project):
    model = load(clinic_project.root / "params.yaml").registration.registered_model
    client = MlflowClient(sqlite_uri(clinic_project.root / "mlruns/mlflow.db"))
    version = client.search_model_versions(f"name = '{model}' and tags.`dvc.experiment` = 'ward-b'")[0].version

    result = clinic_project.lesionflow("champion", "promote", str(version))

    assert "balanced accuracy floor" in result.output
    champion = client.get_model_version_by_alias(model, "champion").version
    assert (str(champion) == str(version)) == (result.exit_code == 0), result.output


def test_experiments_are_compared_by_few_headline_figures(clinic_project):
    shown = json.loads(clinic_project.run("dvc", "metrics", "show", "--json", "reports/metrics.json").stdout)[""]["data"]

    assert list(shown) == ["reports/metrics.json"]
    figures = shown["reports/metrics.json"]["data"]
    assert len(figures) <= HEADLINES_AT_MOST
    evaluation = json.loads((clinic_project.root / "reports/evaluation.json").read_text(encoding="utf-8"))
    assert figures["balanced_accuracy"] == evaluation["test"]["balanced_accuracy"]["value"]
    assert figures["validation_balanced_accuracy"] == evaluation["validation"][evaluation["picked"]]["balanced_accuracy"]


def test_documented_table_of_experiments_leaves_out_the_long_reports(clinic_project):
    page = (ROOT / "docs/how-to/run-experiments.md").read_text(encoding="utf-8")
    documented = next(line for line in page.splitlines() if line.startswith("dvc exp show"))
    everything = shlex.split(documented.replace(" --only-changed", ""))

    changed, shown = (
        next(line for line in clinic_project.run(*command, "--csv").stdout.splitlines() if line.startswith("Experiment,")).split(",")
        for command in (shlex.split(documented), everything)
    )

    assert len(changed) < len(shown) <= COLUMNS_AT_MOST
    headlines = json.loads((clinic_project.root / "reports/metrics.json").read_text(encoding="utf-8"))
    assert {*headlines, "train.dropout", "finetune.learning_rate"} <= set(shown)
    assert not any("/" in column for column in shown)
