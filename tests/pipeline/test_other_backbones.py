"""The pipeline with the backbones that no bundled weights are for, each on random weights: it ends in a version that predicts."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from components.core.classes import CLASSES
from tests.support import project
from tests.support.project import ROOT, SMALL, ran

pytestmark = [pytest.mark.architectures, pytest.mark.timeout(1800)]

SAVE = "import sys; from tests.support.models import seeded_base; seeded_base(sys.argv[1], size=96).save_weights(sys.argv[2])"


@pytest.mark.parametrize(("architecture", "block"), [("EfficientNetB0", "block3a"), ("ResNet50", "conv3_block1")])
def test_the_sample_goes_through_the_pipeline_to_a_version_that_predicts_what_was_measured(tmp_path, architecture, block):
    made = project.make(tmp_path / "project")
    weights = f"weights/{architecture}.weights.h5"
    subprocess.run([sys.executable, "-c", SAVE, architecture, str(made.root / weights)], cwd=ROOT, check=True)
    made.run("dvc", "add", "-q", "weights")
    other = {"architecture": architecture, "image_size": 96, "weights": weights}
    made.set_params({"backbone": "other", "backbones": {"other": other}, "train": {"epochs": 1}})
    made.set_params({"finetune": {**SMALL["finetune"], "epochs": 1, "unfreeze_from": "auto"}})
    output = made.repro()
    assert ran(output)[-1] == "register"
    assert f"from {block}" in output
    report = json.loads((made.root / "reports/registration.json").read_text(encoding="utf-8"))
    assert report["new_version"]
    assert json.loads((made.root / "reports/export.json").read_text(encoding="utf-8"))["float16"]["same_top1"] >= 0.985
    measured = pd.read_parquet(made.root / "build/candidate/test_predictions.parquet").head(5)
    done = made.run(
        *("python", "-m", "app.cli", "predict", "--format", "json", "--model-version", report["version"]),
        *(f"data/{path}" for path in measured["path"]),
    )
    rows = json.loads(done.stdout[done.stdout.index("[\n") :])
    found = pd.DataFrame([row["probabilities"] for row in rows])
    assert np.abs(found[list(CLASSES)].to_numpy() - measured[[f"p_{name}" for name in CLASSES]].to_numpy()).max() < 1e-5
