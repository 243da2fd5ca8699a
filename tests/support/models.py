"""Classifiers and shards that are small enough to train on in seconds."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from components.imaging.tfrecords import ShardWriter, View, as_png
from components.modeling import backbone
from components.modeling.classifier import build_classifier, build_head
from components.modeling.determinism import seed_generators
from components.runtime.params import Train
from tests.support.images import noise
from tests.support.labels import CLASSES, ISIC9

HEAD = Train(hidden_units=(8,), dropout=0.1, learning_rate=0.01, batch_size=8, epochs=1, patience=1, class_weight_power=1.0)
NETWORKS = [
    pytest.param(("MobileNetV2", 0.35), id="MobileNetV2 0.35"),
    pytest.param(("EfficientNetB0", 1.0), id="EfficientNetB0", marks=pytest.mark.architectures),
    pytest.param(("MobileNetV2", 1.0), id="MobileNetV2 1.0", marks=pytest.mark.architectures),
    pytest.param(("ResNet50", 1.0), id="ResNet50", marks=pytest.mark.architectures),
]
"""Every architecture, and MobileNetV2 with the widths of both backbones."""


def write_shards(root: Path, size: int = 32, views: int = 1) -> Path:
    """Write shards of 24 training images with `views` views each, and of 9 validation images, in nine classes."""
    for split, count, views_per_image in (("train", 24, views), ("validation", 9, 1)):
        with ShardWriter(root / split, CLASSES, count * views_per_image, size, seed=0) as writer:
            for number in range(count):
                png = as_png(np.asarray(noise(number, size)))
                for view in range(views_per_image):
                    writer.write(View(png, CLASSES[number % 9], f"{number}.jpg", view))
    return root


def write_label_set(root: Path) -> None:
    """Write build/label_set.json with nine classes to a project folder."""
    (root / "build").mkdir(exist_ok=True)
    ISIC9.write(root / "build/label_set.json")


def residual(pixels):
    """Three small residual blocks, which TensorFlow traces quickly."""
    import keras

    features = keras.layers.Conv2D(8, 3, strides=4, padding="same", activation="relu", name="stem")(pixels)
    for number in (1, 2, 3):
        branch = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name=f"block_{number}_expand")(features)
        branch = keras.layers.Conv2D(8, 3, padding="same", name=f"block_{number}_project")(branch)
        features = keras.layers.Add(name=f"block_{number}_add")([features, branch])
    return features


def seeded_base(architecture: str, alpha: float = 1.0, size: int = 64, weights: str | None = None):
    """A base as Keras builds it, with fixed random weights and with batch statistics like those of a trained network.

    Each batch normalization has about the mean and variance of its input, and a random scale and offset. The offsets are positive, so
    that most units are active. Otherwise a random network would be chaotic: it would not separate classes, and rounding errors would
    change its output, unlike in a trained network. The Normalization layer of EfficientNetB0 has random statistics too.
    """
    import keras

    seed_generators(3)
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
    base(keras_input(architecture, random_images(32, size)), training=True)
    for layer in norms:
        layer.momentum = 0.99
        layer.moving_variance.assign(layer.moving_variance + 1e-3)
    return base


def keras_input(architecture: str, pixels: np.ndarray) -> np.ndarray:
    """Pixels in 0 to 255, preprocessed for a base as the Keras documentation describes."""
    import keras

    return {
        "MobileNetV2": keras.applications.mobilenet_v2.preprocess_input,
        "EfficientNetB0": keras.applications.efficientnet.preprocess_input,
        "ResNet50": keras.applications.resnet50.preprocess_input,
    }[architecture](pixels.copy())


def random_images(count: int, size: int = 64, first: int = 0) -> np.ndarray:
    """Distinct images, float32 (count, size, size, 3) in 0 to 255, which differ in brightness and color."""
    images = np.stack([np.asarray(noise(first + number, size)) for number in range(count)]).astype(np.float32)
    random = np.random.default_rng(first)
    return np.clip(images * random.uniform(0.4, 1.3, (count, 1, 1, 3)), 0, 255).round().astype(np.float32)


def labeled_images(count: int, size: int = 64, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images of nine classes in turn, each a blend of a class image and its own noise, and their labels.

    The blend makes the classes separable, but not with certainty.
    """
    labels = np.arange(count) % 9
    image_noise, class_noise = random_images(count, size, first + 100), random_images(9, size, 10_000)[labels]
    return (0.5 * image_noise + 0.5 * class_noise).round().astype(np.float32), labels


def fitted_head(features: np.ndarray, labels: np.ndarray):
    """A head fitted to nine classes, which is certain about some images and uncertain about others."""
    scaler, regression = StandardScaler(), LogisticRegression(C=0.3, max_iter=1000)
    regression.fit(scaler.fit_transform(features), labels)
    kernel = regression.coef_.T / scaler.scale_[:, None]
    head = build_head(features.shape[1], HEAD.model_copy(update={"hidden_units": ()}), 9)
    head.get_layer("logits").set_weights([kernel, regression.intercept_ - scaler.mean_ @ kernel])
    return head


def classifier(architecture: str = "small", size: int = 32):
    """A classifier with fixed random, frozen weights, on residual blocks or on a Keras architecture."""
    import keras

    seed_generators(1)
    if architecture == "small":
        pixels = keras.Input((size, size, 3), name="pixels")
        base_input = keras.Input((size, size, 3))
        base = keras.Model(base_input, residual(base_input), name="base")
        preprocessed = keras.layers.Rescaling(1 / 127.5, offset=-1, name="preprocessing")(pixels)
        base.trainable = False
        extractor = keras.Model(pixels, keras.layers.GlobalAveragePooling2D(name="features")(base(preprocessed, training=False)))
    else:
        width = {"alpha": 0.35} if architecture == "MobileNetV2" else {}
        build = getattr(keras.applications, architecture)
        base = build(include_top=False, weights=None, input_shape=(size, size, 3), name="base", **width)
        extractor = backbone.build_extractor_on(base, architecture)
    return build_classifier(extractor, build_head(extractor.output_shape[-1], HEAD, 9))


def depthwise_classifier(size: int = 32):
    """A classifier on two blocks as in MobileNetV2; the taps of each depthwise filter cancel, as those of an edge filter."""
    import keras

    seed_generators(1)
    inside = keras.Input((size, size, 3))
    features = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="Conv1")(inside)
    for block, expand in (("expanded_conv", False), ("block_1", True)):
        features = keras.layers.Conv2D(16, 1, activation="relu", name=f"{block}_expand")(features) if expand else features
        features = keras.layers.DepthwiseConv2D(3, padding="same", activation="relu", name=f"{block}_depthwise")(features)
        features = keras.layers.Conv2D(8, 1, name=f"{block}_project")(features)
    base = keras.Model(inside, features, name="base")
    for layer in base.layers:
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel - kernel.mean(axis=(0, 1)), bias + 0.01])
    pixels = keras.Input((size, size, 3), name="pixels")
    preprocessed = keras.layers.Rescaling(1 / 127.5, offset=-1, name="preprocessing")(pixels)
    extractor = keras.Model(pixels, keras.layers.GlobalAveragePooling2D(name="features")(base(preprocessed)))
    images, kinds = labeled_images(72, size)
    return build_classifier(extractor, fitted_head(extractor(images).numpy(), kinds))
