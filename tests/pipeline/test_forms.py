"""From a source in the form that people have to a registered version: `lesionflow import`, `git commit`, `dvc repro`."""

import json

import pandas as pd
import pytest

from tests.support import forms, project
from tests.support.planted import found_in
from tests.support.project import ran

pytestmark = [pytest.mark.timeout(900), pytest.mark.forms]  # tests/flows/test_watch_data.py takes one form through the pipeline
FEWEST_EPOCHS = {"train": {"epochs": 1}, "finetune": {"epochs": 1, "low_resolution_epochs_fraction": 0}}


@pytest.mark.parametrize("name", forms.FORMS)
def test_source_becomes_registered_version(tmp_path, name):
    form = forms.FORMS[name]
    checkout = project.make(tmp_path / "project")
    checkout.set_params(FEWEST_EPOCHS)
    for file, text in form.labels.items():
        (checkout.root / "labels" / file).write_text(text, encoding="utf-8")
    source = forms.write_source(form, tmp_path / "source")
    output = checkout.run("python", "-m", "app.cli", "import", str(source)).stdout
    assert name in output
    assert output.splitlines()[-1].startswith("imported ")
    checkout.run("git", "add", "-A")
    checkout.run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "import")
    output = checkout.repro()
    assert ran(output)[-1] == "register"

    labels = json.loads((checkout.root / "build/label_set.json").read_text(encoding="utf-8"))
    assert (labels["name"], tuple(labels["outputs"])) == (form.label_set, form.outputs)
    registration = json.loads((checkout.root / "reports/registration.json").read_text(encoding="utf-8"))
    assert registration["version"] == "1"
    assert not any("champion" in rule["name"] for rule in registration["gate"])
    test = json.loads((checkout.root / "reports/evaluation.json").read_text(encoding="utf-8"))["test"]
    assert ("critical_sensitivity" in test) == (labels["critical"] is not None)
    assert ("malignant_sensitivity" in test) == bool(labels["malignant"])
    catalog = pd.read_parquet(checkout.root / "build/catalog.parquet")
    splits = pd.read_parquet(checkout.root / "build/splits.parquet")
    assert set(splits["diagnosis"]) == set(form.outputs)
    assert splits.groupby("lesion_id")["side"].nunique().max() == 1
    if name in ("isic2020", "pad-ufes-20", "folders"):
        assert catalog["patient_id"].notna().all()
        assert splits.groupby("patient_id")["side"].nunique().max() == 1
    if name == "folders":  # the source names patients
        assert (checkout.root / "mlruns/mlflow.db").exists()
        assert found_in(checkout.root) == []
    if not labels["malignant"]:
        assert "does not have malignant classes" in checkout.run("python", "-m", "app.cli", "summary").stdout
