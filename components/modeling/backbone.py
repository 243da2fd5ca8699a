"""The pretrained base: weights, preprocessing, batch normalization folded into convolutions, unfreezing."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from components.core.architectures import layer_number
from components.core.errors import LesionflowError, first_line
from components.core.files import sha256
from components.runtime.params import Backbone

if TYPE_CHECKING:
    import keras


IMAGENET = "imagenet"
IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)  # for ResNet50's weights (He et al. 2016, as in Keras)
IMAGENET_DEVIATION_RGB = (0.229, 0.224, 0.225)  # EfficientNetB0's weights store it as variance, as in Keras
IMAGENET_FACTOR = tuple(deviation**-0.5 for deviation in IMAGENET_DEVIATION_RGB)
FIRST_LAYER = {"EfficientNetB0": "stem_conv_pad"}
"""First layer of the base in architectures that Keras builds with preprocessing layers; these are merged into one layer."""
PREPROCESSED = ("MobileNetV2", "ResNet50", *FIRST_LAYER)
"""Architectures for which `preprocess` scales the pixels."""


def weights_sha256(backbone: Backbone) -> str:
    """Hex sha256 of the backbone's weights file, or "imagenet" if Keras downloads the weights.

    Raises:
        LesionflowError: the file does not exist.
    """
    return IMAGENET if backbone.weights == IMAGENET else sha256(_weights_file(backbone))


def _weights_file(backbone: Backbone) -> Path:
    path = Path(backbone.weights)
    if not path.is_file():
        raise LesionflowError(
            f"weights file {path} does not exist. Run `dvc pull` for the bundled file, or set another path in"
            " params.yaml, backbones.<name>.weights."
        )
    return path


def build_base(backbone: Backbone) -> "keras.Model":
    """Build the frozen convolutional base with its weights, without top and preprocessing.

    Raises:
        LesionflowError: the weights are missing, cannot be downloaded, or do not match the architecture.
    """
    return build_extractor_on(*_with_weights(backbone)).get_layer("base")


def build_extractor(backbone: Backbone) -> "keras.Model":
    """Build the model from pixels to pooled features, float32 (n, width of the base's last layer).

    Raises:
        LesionflowError: same as for `build_base`.
    """
    return build_extractor_on(*_with_weights(backbone))


def build_extractor_on(base: "keras.Model", architecture: str, factor: Sequence[float] = (1.0, 1.0, 1.0)) -> "keras.Model":
    """Build an extractor from a base of Keras: preprocessing, the frozen base with folded batch normalization, and pooling.

    Args:
        base: model from keras.applications, without its top.
        architecture: its name in keras.applications.
        factor: channel factors after preprocessing, for weights that were trained with a factor that the base has no layer for.
    """
    import keras

    pixels = keras.Input(base.input_shape[1:], name="pixels")
    ready = preprocess(pixels, architecture, base, factor)
    first = FIRST_LAYER.get(architecture)
    folded = fold_batch_norm(_from_layer(base, first) if first else base)
    folded.trainable = False
    return keras.Model(pixels, keras.layers.GlobalAveragePooling2D(name="features")(folded(ready, training=False)))


def _with_weights(backbone: Backbone) -> "tuple[keras.Model, str, Sequence[float]]":
    """Arguments of `build_extractor_on`.

    Keras builds EfficientNetB0 with one more layer when it downloads the weights than when it reads them from a file
    (keras-team/keras, applications/efficientnet.py); the factor replaces that layer.
    """
    import keras

    architecture = backbone.architecture
    weights = IMAGENET if backbone.weights == IMAGENET else str(_weights_file(backbone))
    width = {"alpha": backbone.alpha} if architecture == "MobileNetV2" else {}
    shape = (backbone.image_size, backbone.image_size, 3)
    try:
        base = getattr(keras.applications, architecture)(include_top=False, weights=weights, input_shape=shape, name="base", **width)
        trained_with_factor = architecture == "EfficientNetB0" and weights != IMAGENET and _has_imagenet_factor(base, Path(weights))
    except (OSError, ValueError, KeyError) as fault:
        if weights == IMAGENET:
            raise LesionflowError(
                f"ImageNet weights of {architecture} cannot be downloaded: {first_line(fault)}\n"
                "Without a network, set backbones.<name>.weights in params.yaml to the path of a weights file without top."
            ) from None
        raise LesionflowError(
            f"{weights} is not a weights file of {architecture} (alpha {backbone.alpha}) without top: {first_line(fault)}"
        ) from None
    return base, architecture, IMAGENET_FACTOR if trained_with_factor else (1.0, 1.0, 1.0)


def _has_imagenet_factor(base: "keras.Model", weights: Path) -> bool:
    """Return whether EfficientNetB0 weights were trained with ImageNet's factor after the Normalization layer.

    This is the case if the file was saved from a network with that layer, or if its statistics are ImageNet's: Keras' own file is
    older than the layer.
    """
    import h5py

    with h5py.File(weights) as file:
        layers = file.attrs["layer_names"].astype(str) if "layer_names" in file.attrs else file.get("layers", ())
        names = [str(name) for name in layers]
    if sum(name.startswith("rescaling") for name in names) > 1:
        return True
    stated = next(layer for layer in base.layers if type(layer).__name__ == "Normalization").variance.numpy()
    return bool(np.allclose(stated, IMAGENET_DEVIATION_RGB, atol=1e-3))


def _from_layer(base: "keras.Model", first: str) -> "keras.Model":
    """Copy the base from this layer on."""
    import keras

    rest = keras.Model(base.get_layer(first).input, base.output, name=base.name)
    copy = keras.models.clone_model(rest)
    copy.set_weights(rest.get_weights())
    return copy


def fold_batch_norm(base: "keras.Model") -> "keras.Model":
    """Fold every batch normalization into the preceding convolution; the function of the base does not change.

    In inference mode a batch normalization is a factor and an offset per channel, which can be merged into the convolution's kernel
    and bias (Jacob et al. 2018, section 3.2). The folded base is twice as fast, and fine-tuning has no moving statistics that a
    training flag could corrupt. Layers keep their names and numbers: each batch normalization becomes an identity layer.

    Raises:
        ValueError: a batch normalization does not follow a linear convolution whose output has no other consumer.
    """
    import keras

    norm_after = _norm_after_convolution(base)

    def replaced(layer: "keras.layers.Layer") -> "keras.layers.Layer":
        if isinstance(layer, keras.layers.BatchNormalization):
            return keras.layers.Identity(name=layer.name)
        more = {"use_bias": True} if layer.name in norm_after else {}
        return type(layer).from_config({**layer.get_config(), **more})

    def called(layer: "keras.layers.Layer", *inputs: Any, **flags: Any) -> Any:
        return layer(*inputs) if isinstance(layer, keras.layers.Identity) else layer(*inputs, **flags)

    folded = keras.models.clone_model(base, clone_function=replaced, call_function=called)
    for layer in base.layers:
        if layer.name in norm_after:
            folded.get_layer(layer.name).set_weights(_folded(layer, norm_after[layer.name]))
        elif layer.weights and not isinstance(layer, keras.layers.BatchNormalization):
            copy = folded.get_layer(layer.name)
            copy.set_weights(layer.get_weights())
            if isinstance(copy, keras.layers.Normalization):
                copy.finalize_state()  # the layer computes with a copy of its weights
    return folded


def _norm_after_convolution(base: "keras.Model") -> "dict[str, keras.layers.BatchNormalization]":
    """The batch normalization that follows each convolution, by the convolution's name."""
    import keras

    convolutions = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
    norm_after = {}
    for layer in base.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            before = layer.input._keras_history.operation
            linear = isinstance(before, convolutions) and before.activation is keras.activations.linear
            if not linear or len(before._outbound_nodes) != 1:
                raise ValueError(f"{layer.name} cannot be folded into {before.name}")
            norm_after[before.name] = layer
    return norm_after


def _folded(convolution: "keras.layers.Layer", norm: "keras.layers.BatchNormalization") -> list[NDArray[np.floating]]:
    """Kernel and bias of the convolution after folding in the batch normalization."""
    kernel, *rest = convolution.get_weights()
    bias = rest[0] if rest else 0.0
    mean, variance = norm.moving_mean.numpy(), norm.moving_variance.numpy()
    factor = (norm.gamma.numpy() if norm.scale else 1.0) / np.sqrt(variance + norm.epsilon)
    offset = (norm.beta.numpy() if norm.center else 0.0) - mean * factor
    # A depthwise kernel is (height, width, channels, 1), any other (height, width, in, channels).
    depthwise = type(convolution).__name__ == "DepthwiseConv2D"
    return [kernel * (factor[:, None] if depthwise else factor), bias * factor + offset]


def preprocess(pixels: Any, architecture: str, base: "keras.Model", factor: Sequence[float]) -> Any:
    """Scale pixels to the input that the base, from its FIRST_LAYER on, was trained with.

    Raises:
        LesionflowError: the architecture is not one of PREPROCESSED.
    """
    if architecture not in PREPROCESSED:
        raise LesionflowError(f"architecture: {architecture!r} has no preprocessing. Use one of {', '.join(PREPROCESSED)}.")
    import keras

    if architecture == "MobileNetV2":
        return keras.layers.Rescaling(1 / 127.5, offset=-1, name="preprocessing")(pixels)
    if architecture == "ResNet50":
        mean = [-value for value in IMAGENET_MEAN_BGR]
        return keras.layers.Rescaling(1.0, offset=mean, name="preprocessing")(keras.ops.flip(pixels, axis=-1))
    scale, offset = np.ones(3), np.zeros(3)
    for layer in base.layers[: [layer.name for layer in base.layers].index(FIRST_LAYER[architecture])]:
        if isinstance(layer, keras.layers.Rescaling):
            scale, offset = scale * layer.scale, offset * layer.scale + layer.offset
        elif isinstance(layer, keras.layers.Normalization):
            deviation = np.sqrt(layer.variance.numpy().reshape(-1).astype(float))
            scale, offset = scale / deviation, (offset - layer.mean.numpy().reshape(-1).astype(float)) / deviation
    return keras.layers.Rescaling((scale * factor).tolist(), offset=(offset * factor).tolist(), name="preprocessing")(pixels)


def unfreeze(base: "keras.Model", start: str | int) -> list[str]:
    """Make the base trainable from a layer on.

    Args:
        base: the convolutional base.
        start: name of a layer or of a block (such as "block_13"), or a layer number.

    Returns:
        Names of the layers now trainable.

    Raises:
        LesionflowError: the layer or block does not exist.
    """
    first = layer_number([layer.name for layer in base.layers], start)
    base.trainable = True
    for number, layer in enumerate(base.layers):
        layer.trainable = number >= first
    return [layer.name for layer in base.layers if layer.trainable and layer.weights]


def get_base(classifier: "keras.Model") -> "keras.Model":
    """The convolutional base of a classifier."""
    return classifier.get_layer("base")
