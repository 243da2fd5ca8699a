"""Frozen features of the starter weights separate the classes of the bundled sample; those of random weights do not."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from components.imaging import images
from components.modeling import classifier
from components.modeling.backbone import build_extractor
from components.runtime.params_file import load
from tests.support.project import ROOT

CHANCE = 1 / 9


@pytest.fixture(scope="module")
def bundled_sample() -> tuple[pd.DataFrame, np.ndarray]:
    if not (ROOT / "data/metadata.csv").exists() or not (ROOT / "weights").exists():
        pytest.fail("data/ and weights/ do not exist. Run `make data` to extract them from bundled/.")
    table = pd.read_csv(ROOT / "data/metadata.csv")
    if set(table["collection"]) != {"synthetic"}:
        pytest.skip("data/ is not the bundled sample")
    return table, np.stack([images.load_pixels((ROOT / "data" / name).read_bytes(), 96) for name in table["filename"]])


def frozen_accuracy(backbone, table, pixels) -> float:
    """Held-out balanced accuracy of a linear head on frozen features, with each lesion in one split."""
    extractor = classifier.inference_function(build_extractor(backbone))
    features = np.concatenate([extractor(pixels[start : start + 64]) for start in range(0, len(pixels), 64)])
    train, test = next(StratifiedGroupKFold(4, shuffle=True, random_state=0).split(features, table["diagnosis"], table["lesion_id"]))
    head = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300, class_weight="balanced"))
    head.fit(features[train], table["diagnosis"].iloc[train])
    return balanced_accuracy_score(table["diagnosis"].iloc[test], head.predict(features[test]))


def test_starter_features_separate_classes_and_random_weights_do_not(bundled_sample, tmp_path):
    import keras

    table, pixels = bundled_sample
    starter = load(ROOT / "params.yaml").backbones["starter"].model_copy(update={"weights": str(ROOT / "weights/starter.weights.h5")})
    assert frozen_accuracy(starter, table, pixels) >= 0.60

    base = keras.applications.MobileNetV2(
        include_top=False, weights=starter.weights, input_shape=(starter.image_size, starter.image_size, 3), alpha=starter.alpha
    )
    random = np.random.default_rng(0)
    base.set_weights([random.permutation(values.ravel()).reshape(values.shape) for values in base.get_weights()])
    base.save_weights(tmp_path / "random.weights.h5")
    keras.backend.clear_session()
    randomized = starter.model_copy(update={"weights": str(tmp_path / "random.weights.h5")})
    assert frozen_accuracy(randomized, table, pixels) <= 2 * CHANCE
