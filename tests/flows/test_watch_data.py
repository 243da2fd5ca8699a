"""The flow watch-data on a real Prefect server. The tests run in file order; each one uses the state that the previous one left."""

import json
import shutil

import pandas as pd
import pytest
import yaml

from flows.stages import STAGES
from tests.support import forms
from tests.support.planted import found_in
from tests.support.prefect import PrefectLab, cancel_planned_runs, read_report, wait_for
from tests.support.project import Project

pytestmark = pytest.mark.timeout(1200)  # the first test may have to build the pipeline that others share

FORM = forms.FORMS["folders"]
"""Images and metadata.csv that name patients, of diagnoses that have their own label set."""


@pytest.fixture(scope="module")
def lab_project(lab_project: Project) -> Project:
    """A fresh checkout without outputs, with the registry and the DVC cache of a completed run, and the label set of another clinic."""
    for name in ("build", "reports"):
        shutil.rmtree(lab_project.root / name)
    (lab_project.root / "dvc.lock").unlink()
    for file, text in FORM.labels.items():
        (lab_project.root / "labels" / file).write_text(text, encoding="utf-8")
    return lab_project


def test_watch_data_imports_trains_and_registers_new_dataset(prefect_lab, built):
    before = json.loads((built.root / "reports/registration.json").read_text(encoding="utf-8"))
    new_dataset = prefect_lab.project.root / "inbox" / "january"
    source = forms.write_source(FORM, prefect_lab.project.root.parent / "january")
    (prefect_lab.project.root / "inbox").mkdir(exist_ok=True)
    shutil.make_archive(str(new_dataset), "zip", source)
    path = prefect_lab.project.root / "prefect.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    for item in document["deployments"]:
        if item["name"] == "watch-data":
            item["parameters"]["settle_seconds"] = 2
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    prefect_lab.schedule("watch-data", interval=10, timezone="Europe/Zurich")
    prefect_lab.deploy()

    run = wait_for("the run that trains on the dataset", lambda: prefect_lab.runs("watch-data", "Completed"), 600)[0]
    cancel_planned_runs(prefect_lab, "watch-data")
    assert prefect_lab.stages(run["id"]) == dict.fromkeys(STAGES, "Completed")
    wait_for("stage output in the log of the run", lambda: any("scanning" in line for line in prefect_lab.logs(run["id"])), 30)
    registered = read_report(prefect_lab.project, "registration")
    assert registered["version"] != before["version"]
    pointer = yaml.safe_load((prefect_lab.project.root / "data.dvc").read_text(encoding="utf-8"))["outs"][0]["md5"]
    output = prefect_lab.project.run("python", "-m", "app.cli", "champion", "show", "--format", "json").stdout
    shown = json.loads(output[output.index("{\n") :])
    assert shown["challenger"]["version"] == registered["version"]
    assert shown["challenger"]["data_md5"] == pointer
    assert prefect_lab.project.run("git", "status", "--porcelain", "--", "data.dvc").stdout == ""
    assert "Import january.zip" in prefect_lab.project.run("git", "log", "-1", "--format=%s").stdout
    assert not (new_dataset.with_suffix(".zip")).exists()
    assert next((prefect_lab.project.root / "inbox/imported").iterdir()).name.endswith("january.zip")


def test_imported_dataset_is_recognised_and_labeled_and_split_by_patient(prefect_lab):
    root = prefect_lab.project.root
    assert yaml.safe_load((root / "data/dataset.yaml").read_text(encoding="utf-8"))["form"] == FORM.name
    labels = json.loads((root / "build/label_set.json").read_text(encoding="utf-8"))
    assert (labels["name"], tuple(labels["outputs"])) == (FORM.label_set, FORM.outputs)
    assert not {"critical_sensitivity", "malignant_sensitivity"} & set(read_report(prefect_lab.project, "evaluation")["test"])
    splits = pd.read_parquet(root / "build/splits.parquet")
    assert splits["patient_id"].notna().all()
    for key in ("patient_id", "lesion_id"):
        assert splits.groupby(key)["side"].nunique().max() == 1


def test_nothing_but_the_archive_names_a_patient(prefect_lab):
    archive = next((prefect_lab.project.root / "inbox/imported").iterdir())
    assert archive.suffix == ".zip"
    archive.unlink()
    assert found_in(prefect_lab.project.root) == []


def test_watch_data_run_has_artifacts_for_stages_metrics_and_gate(prefect_lab):
    run = prefect_lab.runs("watch-data", "Completed")[0]
    artifacts = prefect_lab.artifacts(run["id"], "stages", "summary", "confusion-matrix", "outcome")
    table = json.loads(artifacts["stages"])
    assert [row["stage"] for row in table] == list(STAGES)
    assert {row["cached"] for row in table} == {False}
    summary = artifacts["summary"]
    registered = read_report(prefect_lab.project, "registration")
    assert all(rule["name"] in summary for rule in registered["gate"])
    assert "balanced accuracy" in summary
    assert f"/runs/{registered['mlflow_run']}" in summary
    assert artifacts["confusion-matrix"].startswith("data:image/png;base64,")


def test_data_revision_reuses_version_of_earlier_dataset(prefect_lab):
    root = prefect_lab.project.root
    before = (root / "data.dvc").read_text()
    earlier = prefect_lab.project.run("git", "show", "HEAD~1:data.dvc").stdout
    assert earlier != before
    run = prefect_lab.wait_until_ended(prefect_lab.start_run("training", "train-on-demand", data_revision="HEAD~1"))
    assert run["state_name"] == "Completed", run["state"]["message"]
    assert yaml.safe_load((root / ".prefect/workspace/data.dvc").read_text()) == yaml.safe_load(earlier)
    registration = json.loads((root / ".prefect/workspace/reports/registration.json").read_text(encoding="utf-8"))
    assert registration["version"] != read_report(prefect_lab.project, "registration")["version"]
    assert not registration["new_version"]
    assert (root / "data.dvc").read_text() == before


def run_watch_data(prefect_lab: PrefectLab) -> dict:
    """Run watch-data until one run checks the inbox. A run that finds the workspace locked leaves the inbox to the next run."""

    def completed_check() -> dict | None:
        run = prefect_lab.wait_until_ended(prefect_lab.start_run("watch-data", "watch-data", settle_seconds=0))
        return None if "the next run checks again" in (run["state"]["message"] or "") else run

    return dict(wait_for("watch-data to check the inbox", completed_check))


def test_watch_data_refuses_invalid_archive_once_and_notifies(prefect_lab):
    pointer = (prefect_lab.project.root / "data.dvc").read_text()
    (prefect_lab.project.root / "inbox" / "broken.zip").write_bytes(b"PK\x03\x04 no archive")
    run = run_watch_data(prefect_lab)
    assert run["state_name"] == "Failed", run["state"]["message"]
    assert "broken.zip" in run["state"]["message"]
    refused = sorted(path.name for path in (prefect_lab.project.root / "inbox/refused").iterdir())
    assert [name.split("-", 1)[1] for name in refused] == ["broken.zip", "broken.zip.txt"]
    failed = f"watch-data run {run['name']}: Failed"
    wait_for("the webhook message", lambda: any(failed in text and "broken.zip" in text for text in prefect_lab.webhook_messages), 60)
    again = run_watch_data(prefect_lab)
    assert again["state_name"] == "Unchanged", again["state"]["message"]
    assert again["state"]["message"] == "no new dataset"
    prefect_lab.wait_until_idle()
    assert not any(again["name"] in text for text in prefect_lab.webhook_messages), "a check that finds nothing sends no message"
    assert (prefect_lab.project.root / "data.dvc").read_text() == pointer
