"""A project of few small images, whose classes differ clearly, with a small network, on which a fold is trained in seconds."""

import hashlib
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from components.core.files import write_json
from components.core.label_set import LabelSet
from components.core.paths import DATA, RESOLUTION, SPLITS
from components.modeling import backbone
from components.modeling.determinism import seed_generators
from components.runtime.params import Settings
from components.runtime.params_file import load
from tests.support.images import noise
from tests.support.models import residual
from tests.support.project import ROOT

LABELS = LabelSet(name="three", outputs=("melanoma", "nevus", "wart"), malignant=("melanoma",), critical="melanoma")
PER_CLASS = 6
SIZE = 32
EPOCHS = 2
SMALL = {
    "augment": {"views_per_image": 2, "max_views_per_image": 2},
    "embed": {"max_views_per_image": 2},
    "train": {"epochs": 2, "batch_size": 8},
    "finetune": {
        "epochs": EPOCHS,
        "batch_size": 8,
        "unfreeze_from": "block_3",
        "learning_rate": 0.01,
        "low_resolution_epochs_fraction": 0.0,
    },
    "cross_validation": {"folds": 3, "phase": "finetuned"},
    "images": {"resolution": None},
}


def write_project(root: Path) -> None:
    """Write data/, build/splits.parquet and what the stages before a cross-validation decide, with test images too."""
    rows = []
    for number, name in enumerate(LABELS.outputs):
        (root / DATA / name).mkdir(parents=True)
        for image in range(PER_CLASS + 1):
            path = f"{name}/{image}.png"
            Image.blend(noise(100 * number, SIZE), noise(100 * number + image + 1, SIZE), 0.3).save(root / DATA / path)
            side = "test" if image == PER_CLASS else "validation" if image % 3 == 0 else "train"
            rows.append((path, name, hashlib.sha256(path.encode()).hexdigest(), f"{name} {image}", side))
    (root / RESOLUTION).parent.mkdir(parents=True)
    write_json(root / RESOLUTION, {"resolution": None})
    columns = ["path", "diagnosis", "pixels_sha256", "group", "side"]
    pd.DataFrame(rows, columns=columns).to_parquet(root / SPLITS, index=False)
    (root / "small.weights.h5").touch()


def small_settings(**changes: dict) -> Settings:
    """params.yaml with a small network and few epochs, and other changes by section."""
    document = load(ROOT / "params.yaml").model_dump(by_alias=True)
    for section, values in [*SMALL.items(), *changes.items()]:
        document[section] = {**document[section], **values}
    small = {"architecture": "MobileNetV2", "alpha": 0.35, "image_size": SIZE, "weights": "small.weights.h5"}
    return Settings.model_validate({**document, "backbone": "small", "backbones": {"small": small}})


def build_small_extractor(_: object):
    """Three small residual blocks with fixed weights, in place of a pretrained base."""
    import keras

    seed_generators(1)
    inside, pixels = keras.Input((SIZE, SIZE, 3)), keras.Input((SIZE, SIZE, 3), name="pixels")
    base = keras.Model(inside, residual(inside), name="base")
    base.trainable = False
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1, name="preprocessing")(pixels)
    return keras.Model(pixels, keras.layers.GlobalAveragePooling2D(name="features")(base(scaled, training=False)))


def use_small_network(patch: pytest.MonkeyPatch) -> None:
    """Let a process build the small network wherever it builds an extractor."""
    patch.setattr(backbone, "build_extractor", build_small_extractor)
