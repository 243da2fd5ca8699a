"""The whole stage on small residual blocks: stopped in each of its ways to train and taken up again, it ends in the same model."""

import pytest

from components import finetune
from components.core.files import read_json
from components.core.paths import CHECKPOINT, FEATURE_CACHE, FINETUNED, FROZEN, MODEL_FILENAME
from components.modeling import serialization
from tests.support.models import classifier, write_shards

pytestmark = pytest.mark.slow

pytest.importorskip("tensorflow")


class Killed(Exception):
    pass


class Run:
    """In place of MLflow's run."""

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
def stage(tmp_path, monkeypatch, settings):
    """Runs the stage in a project of its own, with other knobs; returns the model's fingerprint and the report."""
    monkeypatch.chdir(tmp_path)
    weights = tmp_path / "w.weights.h5"
    weights.write_bytes(b"")
    write_shards(tmp_path / "build/shards", 64)
    FROZEN.mkdir(parents=True)
    serialization.save_classifier(classifier(size=64), FROZEN / MODEL_FILENAME)
    backbone = settings.base.model_copy(update={"image_size": 64, "weights": str(weights)})

    def run(stop_after=None, **knobs):
        common = {"unfreeze_from": "block_3", "batch_size": 8, "epochs": 4, "patience": 4, "learning_rate": 0.01}
        changed = {
            "finetune": settings.finetune.model_copy(update={**common, **knobs}),
            "backbones": {settings.backbone: backbone},
        }
        monkeypatch.setattr(finetune.runs, "start_phase_run", lambda *_: Run(stop_after))
        finetune.finetune(settings.model_copy(update=changed))
        return serialization.classifier_sha256(FINETUNED / MODEL_FILENAME), read_json(finetune.REPORT)

    return run


@pytest.mark.parametrize(
    "knobs",
    [
        {"random_dihedral": True, "low_resolution_epochs_fraction": 0.6, "low_resolution_size_fraction": 0.5},
        {"random_dihedral": False, "low_resolution_epochs_fraction": 0},
    ],
    ids=["small pictures first", "kept maps"],
)
def test_stopped_and_taken_up_again_it_ends_in_the_same_model_and_leaves_nothing_behind(stage, knobs):
    whole, report = stage(**knobs)
    assert (report["kept_maps"] > 0) == (not knobs["random_dihedral"])
    assert report["best"]["epoch"] >= (2 if knobs["low_resolution_epochs_fraction"] else 0)
    assert report["epochs"] == 4
    with pytest.raises(Killed):
        stage(1, **knobs)
    assert FEATURE_CACHE.exists() == (not knobs["random_dihedral"])
    assert stage(**knobs) == (whole, report)
    assert not FEATURE_CACHE.exists()
    assert not CHECKPOINT.exists()
