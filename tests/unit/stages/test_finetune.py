"""The stage on small residual blocks, interrupted and resumed with each kind of training."""

import pytest

from components import finetune
from components.core.files import read_json
from components.core.paths import CHECKPOINT, FEATURE_CACHE, FINETUNED, FROZEN, MODEL_FILENAME
from components.modeling import serialization
from tests.support.models import classifier, write_label_set, write_shards

pytestmark = pytest.mark.slow

pytest.importorskip("tensorflow")


class Killed(Exception):
    pass


class FakeRun:
    """Replaces the MLflow run; raises Killed after the epoch `stop_after`."""

    def __init__(self, stop_after):
        self.stop_after = stop_after

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def epoch(self, number, _):
        if number == self.stop_after:
            raise Killed

    def finish(self, *_):
        pass


@pytest.fixture
def run_finetune(tmp_path, monkeypatch, settings):
    """A function that runs the stage with other params and returns the hash of the model and the report."""
    monkeypatch.chdir(tmp_path)
    weights = tmp_path / "w.weights.h5"
    weights.write_bytes(b"")
    write_shards(tmp_path / "build/shards", 64)
    write_label_set(tmp_path)
    FROZEN.mkdir(parents=True)
    serialization.save_classifier(classifier(size=64), FROZEN / MODEL_FILENAME)
    backbone = settings.base.model_copy(update={"image_size": 64, "weights": str(weights)})

    def run(stop_after=None, **params):
        defaults = {"unfreeze_from": "block_3", "batch_size": 8, "epochs": 4, "patience": 4, "learning_rate": 0.01}
        changes = {
            "finetune": settings.finetune.model_copy(update={**defaults, **params}),
            "backbones": {settings.backbone: backbone},
        }
        monkeypatch.setattr(finetune.runs, "start_phase_run", lambda *_: FakeRun(stop_after))
        finetune.finetune(settings.model_copy(update=changes))
        return serialization.classifier_sha256(FINETUNED / MODEL_FILENAME), read_json(finetune.REPORT)

    return run


@pytest.mark.parametrize(
    "finetune_params",
    [
        {"random_dihedral": True, "low_resolution_epochs_fraction": 0.6, "low_resolution_size_fraction": 0.5},
        {"random_dihedral": False, "low_resolution_epochs_fraction": 0},
    ],
    ids=["progressive resizing", "feature cache"],
)
def test_resumed_training_gives_same_model_and_removes_caches(run_finetune, finetune_params):
    uninterrupted, report = run_finetune(**finetune_params)
    assert (report["kept_maps"] > 0) == (not finetune_params["random_dihedral"])
    assert report["best"]["epoch"] >= (2 if finetune_params["low_resolution_epochs_fraction"] else 0)
    assert report["epochs"] == 4
    with pytest.raises(Killed):
        run_finetune(1, **finetune_params)
    assert FEATURE_CACHE.exists() == (not finetune_params["random_dihedral"])
    assert run_finetune(**finetune_params) == (uninterrupted, report)
    assert not FEATURE_CACHE.exists()
    assert not CHECKPOINT.exists()
