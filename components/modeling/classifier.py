"""The classifier: base, head and output probabilities.

A classifier maps float32 pixels (n, size, size, 3) in 0 to 255 to probabilities: preprocessing, the base, global average
pooling ("features"), the head ("head", ending in logits), a division by the temperature, softmax or sigmoid.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from components.runtime.params import Train

if TYPE_CHECKING:
    import keras


def build_head(width: int, params: Train, logits: int) -> "keras.Sequential":
    """Build the head: dropout and dense layers from features to logits, (n, logits)."""
    import keras

    layers: list[keras.layers.Layer] = [keras.Input((width,), name="pooled")]
    for number, units in enumerate(params.hidden_units, start=1):
        layers += [keras.layers.Dropout(params.dropout), keras.layers.Dense(units, activation="relu", name=f"hidden_{number}")]
    layers += [keras.layers.Dropout(params.dropout), keras.layers.Dense(logits, name="logits")]
    return keras.Sequential(layers, name="head")


def build_classifier(extractor: "keras.Model", head: "keras.Model", temperature: float = 1.0) -> "keras.Model":
    """Combine extractor and head into a classifier, with a sigmoid for one logit and a softmax for more; both are shared, not copied."""
    import keras

    scaled = keras.layers.Rescaling(1 / temperature, name="temperature")(head(extractor.output))
    squash = "sigmoid" if head.output_shape[-1] == 1 else "softmax"
    return keras.Model(extractor.input, keras.layers.Activation(squash, name="probabilities")(scaled), name="classifier")


def logits_model(classifier: "keras.Model") -> "keras.Model":
    """The classifier up to its logits, before the temperature; layers are shared."""
    import keras

    return keras.Model(classifier.input, classifier.get_layer("temperature").input)


def inference_function(network: "keras.Model") -> Callable[[NDArray[np.generic]], NDArray[np.float32]]:
    """Return the network in inference mode as a function of pixels (n, size, size, 3), traced once for all batch sizes."""
    import tensorflow as tf

    signature = tf.TensorSpec(network.input_shape, tf.float32)
    graph = tf.function(lambda pixels: network(pixels, training=False), input_signature=[signature])
    return lambda pixels: graph(tf.constant(pixels, tf.float32)).numpy()


def get_extractor(classifier: "keras.Model") -> "keras.Model":
    """The classifier up to its pooled features, like `build_extractor`; layers are shared."""
    import keras

    return keras.Model(classifier.input, classifier.get_layer("features").output)


def with_temperature(classifier: "keras.Model", temperature: float) -> "keras.Model":
    """The classifier with its logits divided by `temperature` (Guo et al. 2017); layers are shared."""
    return build_classifier(get_extractor(classifier), classifier.get_layer("head"), temperature)


def probabilities(logits: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float64]:
    """Convert logits, shape (n, logits), to probabilities, shape (n, outputs): a single logit is that of the second of two outputs."""
    from scipy.special import expit, softmax

    scaled = logits.astype(np.float64) / temperature
    if logits.shape[1] > 1:
        return np.asarray(softmax(scaled, axis=1))
    second = expit(scaled[:, 0])
    return np.stack([1 - second, second], axis=1)
