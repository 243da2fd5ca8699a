"""Classifiers and shards small enough that a test trains on them in seconds."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from components.core.classes import CLASSES
from components.imaging.tfrecords import ShardWriter, View, as_png
from components.modeling import backbone
from components.modeling.classifier import build_classifier, build_head
from components.runtime.params import Train
from tests.support.images import noise

HEAD = Train(hidden_units=(8,), dropout=0.1, learning_rate=0.01, batch_size=8, epochs=1, patience=1, class_weight_power=1.0)
NETWORKS = [
    pytest.param(("MobileNetV2", 0.35), id="MobileNetV2 0.35"),
    pytest.param(("EfficientNetB0", 1.0), id="EfficientNetB0"),
    pytest.param(("MobileNetV2", 1.0), id="MobileNetV2 1.0", marks=pytest.mark.architectures),
    pytest.param(("ResNet50", 1.0), id="ResNet50", marks=pytest.mark.architectures),
]
"""Every architecture, MobileNetV2 at the widths of both backbones."""


def write_shards(root: Path, size: int = 32, views: int = 1) -> Path:
    """24 training images, in `views` each, and 9 of validation, of nine classes."""
    for side, count, each in (("train", 24, views), ("validation", 9, 1)):
        with ShardWriter(root / side, count * each, size, seed=0) as writer:
            for number in range(count):
                picture = as_png(np.asarray(noise(number, size)))
                for view in range(each):
                    writer.write(View(picture, CLASSES[number % 9], f"{number}.jpg", view))
    return root


def residual(pixels):
    """Three small residual blocks: what matters of a base, and traced in no time."""
    import keras

    maps = keras.layers.Conv2D(8, 3, strides=4, padding="same", activation="relu", name="stem")(pixels)
    for number in (1, 2, 3):
        inner = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name=f"block_{number}_expand")(maps)
        inner = keras.layers.Conv2D(8, 3, padding="same", name=f"block_{number}_project")(inner)
        maps = keras.layers.Add(name=f"block_{number}_add")([maps, inner])
    return maps


def seeded_base(architecture: str, alpha: float = 1.0, size: int = 64, weights: str | None = None):
    """A base as Keras builds it, always the same, with the statistics of a trained one.

    Each batch normalisation has about the mean and variance that its input has, and a random factor and offset. The offsets are
    positive, so that most units are active: a random network without that is chaotic, tells no kinds of pictures apart, and makes of
    any rounding another answer, which no trained network does. EfficientNetB0's Normalization has random statistics too.
    """
    import keras

    keras.utils.set_random_seed(3)
    width = {"alpha": alpha} if architecture == "MobileNetV2" else {}
    base = getattr(keras.applications, architecture)(include_top=False, weights=weights, input_shape=(size, size, 3), name="base", **width)
    random = np.random.default_rng(4)
    norms = [layer for layer in base.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in norms:
        layer.momentum, layer_shape = 0.0, layer.gamma.shape
        layer.gamma.assign(random.uniform(0.7, 1.5, layer_shape))
        layer.beta.assign(random.normal(1, 0.3, layer_shape))
    for layer in base.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.set_weights([random.uniform(0.4, 0.6, 3), random.uniform(0.1, 0.3, 3), np.array(1)])
            layer.finalize_state()
    base(keras_input(architecture, pictures(32, size)), training=True)
    for layer in norms:
        layer.momentum = 0.99
        layer.moving_variance.assign(layer.moving_variance + 1e-3)
    return base


def keras_input(architecture: str, pixels: np.ndarray) -> np.ndarray:
    """Pixels in 0 to 255 as Keras' own documentation prepares them for a base."""
    import keras

    return {
        "MobileNetV2": keras.applications.mobilenet_v2.preprocess_input,
        "EfficientNetB0": keras.applications.efficientnet.preprocess_input,
        "ResNet50": keras.applications.resnet50.preprocess_input,
    }[architecture](pixels.copy())


def pictures(count: int, size: int = 64, first: int = 0) -> np.ndarray:
    """Distinct pictures as float32 (count, size, size, 3) in 0 to 255, each with its own brightness and colour."""
    made = np.stack([np.asarray(noise(first + number, size)) for number in range(count)]).astype(np.float32)
    random = np.random.default_rng(first)
    return np.clip(made * random.uniform(0.4, 1.3, (count, 1, 1, 3)), 0, 255).round().astype(np.float32)


def labelled_pictures(count: int, size: int = 64, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of nine kinds in turn, each blended with one of its own so that kinds are told apart but not with certainty; and the
    kind of each."""
    kinds = np.arange(count) % 9
    own, shared = pictures(count, size, first + 100), pictures(9, size, 10_000)[kinds]
    return (0.5 * own + 0.5 * shared).round().astype(np.float32), kinds


def fitted_head(features: np.ndarray, kinds: np.ndarray):
    """A head fitted to tell nine kinds apart by their features: sure of some pictures and in doubt about others."""
    scaler, regression = StandardScaler(), LogisticRegression(C=0.3, max_iter=1000)
    regression.fit(scaler.fit_transform(features), kinds)
    kernel = regression.coef_.T / scaler.scale_[:, None]
    head = build_head(features.shape[1], HEAD.model_copy(update={"hidden_units": ()}), 9)
    head.get_layer("logits").set_weights([kernel, regression.intercept_ - scaler.mean_ @ kernel])
    return head


def classifier(architecture: str = "small", size: int = 32):
    """A classifier with random, frozen weights, always the same, on residual blocks or on an architecture of Keras'."""
    import keras

    keras.utils.set_random_seed(1)
    if architecture == "small":
        pixels = keras.Input((size, size, 3), name="pixels")
        within = keras.Input((size, size, 3))
        base = keras.Model(within, residual(within), name="base")
        ready = keras.layers.Rescaling(1 / 127.5, offset=-1, name="preprocessing")(pixels)
        base.trainable = False
        extractor = keras.Model(pixels, keras.layers.GlobalAveragePooling2D(name="features")(base(ready, training=False)))
    else:
        width = {"alpha": 0.35} if architecture == "MobileNetV2" else {}
        build = getattr(keras.applications, architecture)
        base = build(include_top=False, weights=None, input_shape=(size, size, 3), name="base", **width)
        extractor = backbone.build_extractor_on(base, architecture)
    return build_classifier(extractor, build_head(extractor.output_shape[-1], HEAD, 9), "multiclass")
