"""The pipeline with backbones that have no bundled weights, each with random weights."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from app.models.predict_command import ABSTAINED
from tests.support import project
from tests.support.labels import CLASSES
from tests.support.project import ROOT, SMALL, ran

pytestmark = [pytest.mark.architectures, pytest.mark.timeout(1800)]

SAVE = "import sys; from tests.support.models import seeded_base; seeded_base(sys.argv[1], size=96).save_weights(sys.argv[2])"


@pytest.mark.parametrize(("architecture", "first_unfrozen_block"), [("EfficientNetB0", "block3a"), ("ResNet50", "conv3_block1")])
def test_pipeline_registers_version_that_reproduces_test_predictions(tmp_path, architecture, first_unfrozen_block):
    checkout = project.make(tmp_path / "project")
    weights = f"weights/{architecture}.weights.h5"
    subprocess.run([sys.executable, "-c", SAVE, architecture, str(checkout.root / weights)], cwd=ROOT, check=True)
    checkout.run("dvc", "add", "-q", "weights")
    backbone = {"architecture": architecture, "image_size": 96, "weights": weights}
    checkout.set_params({"backbone": "other", "backbones": {"other": backbone}, "train": {"epochs": 1}})
    checkout.set_params({"finetune": {**SMALL["finetune"], "epochs": 1, "unfreeze_from": "auto"}})
    output = checkout.repro()
    assert ran(output)[-1] == "register"
    assert f"from {first_unfrozen_block}" in output
    report = json.loads((checkout.root / "reports/registration.json").read_text(encoding="utf-8"))
    assert report["new_version"]
    assert json.loads((checkout.root / "reports/export.json").read_text(encoding="utf-8"))["float16"]["same_top1"] >= 0.985
    measured = pd.read_parquet(checkout.root / "build/candidate/test_predictions.parquet").head(5)
    result = checkout.run(
        *("python", "-m", "app.cli", "predict", "--format", "json", "--model-version", report["version"]),
        *(f"data/{path}" for path in measured["path"]),
        check=False,
    )
    assert result.returncode in (0, ABSTAINED), result.stdout
    rows = json.loads(result.stdout[result.stdout.index("[\n") :])
    probabilities = pd.DataFrame([row["probabilities"] for row in rows])
    assert np.abs(probabilities[list(CLASSES)].to_numpy() - measured[[f"p_{name}" for name in CLASSES]].to_numpy()).max() < 1e-5
