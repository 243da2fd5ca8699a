"""The pretrained base: its weights, its preprocessing, its batch norm folded into convolutions, and what of it is unfrozen."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from components.core.architectures import layer_number
from components.core.errors import LesionflowError
from components.core.files import sha256
from components.runtime.params import Backbone

if TYPE_CHECKING:
    import keras


IMAGENET = "imagenet"
IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)  # what ResNet50's weights were trained with (He et al. 2016, as in Keras)
IMAGENET_DEVIATION_RGB = (0.229, 0.224, 0.225)  # what EfficientNetB0's weights hold as variance, as in Keras
IMAGENET_FACTOR = tuple(deviation**-0.5 for deviation in IMAGENET_DEVIATION_RGB)
FIRST_LAYER = {"EfficientNetB0": "stem_conv_pad"}
"""Where the base begins in an architecture to which Keras gives preprocessing of its own; what is before becomes one layer."""


def weights_identity(backbone: Backbone) -> str:
    """Hex sha256 of the backbone's weights file, or "imagenet" where Keras brings them.

    Raises:
        LesionflowError: the file is not there.
    """
    return IMAGENET if backbone.weights == IMAGENET else sha256(_weights_file(backbone))


def _weights_file(backbone: Backbone) -> Path:
    path = Path(backbone.weights)
    if not path.is_file():
        raise LesionflowError(
            f"weights file {path} is not there: `dvc pull` brings the bundled one; for others set the path in"
            " params.yaml, backbones.<name>.weights"
        )
    return path


def build_base(backbone: Backbone) -> "keras.Model":
    """The convolutional base without its top and its preprocessing, with its weights, frozen.

    Raises:
        LesionflowError: the weights are missing, cannot be had without a network, or do not fit the architecture.
    """
    return extractor_on(*_with_weights(backbone)).get_layer("base")


def build_extractor(backbone: Backbone) -> "keras.Model":
    """Pixels to pooled features, float32 (n, width of the base's last layer).

    Raises:
        LesionflowError: as `build_base`.
    """
    return extractor_on(*_with_weights(backbone))


def extractor_on(base: "keras.Model", architecture: str, factor: Sequence[float] = (1.0, 1.0, 1.0)) -> "keras.Model":
    """Preprocessing, a base of Keras' without batch normalisation, frozen, and pooling: as `build_extractor`.

    Args:
        base: what keras.applications makes, without its top.
        architecture: its name there.
        factor: of each channel after preprocessing, where the weights were trained with one that this base has no layer for.
    """
    import keras

    pixels = keras.Input(base.input_shape[1:], name="pixels")
    ready = preprocess(pixels, architecture, base, factor)
    first = FIRST_LAYER.get(architecture)
    folded = without_batch_norm(_from_layer(base, first) if first else base)
    folded.trainable = False
    return keras.Model(pixels, keras.layers.GlobalAveragePooling2D(name="features")(folded(ready, training=False)))


def _with_weights(backbone: Backbone) -> "tuple[keras.Model, str, Sequence[float]]":
    """What `extractor_on` takes.

    Keras builds EfficientNetB0 with a layer more where it downloads the weights itself than where it reads them from a file
    (keras-team/keras, applications/efficientnet.py): the factor stands for that layer.
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
                f"ImageNet weights of {architecture} cannot be had: {first_line(fault)}\n"
                "without a network, put a no-top weights file on disk and its path into params.yaml, backbones.<name>.weights"
            ) from None
        raise LesionflowError(
            f"{weights} holds no weights of {architecture} (alpha {backbone.alpha}) without its top: {first_line(fault)}"
        ) from None
    return base, architecture, IMAGENET_FACTOR if trained_with_factor else (1.0, 1.0, 1.0)


def _has_imagenet_factor(base: "keras.Model", weights: Path) -> bool:
    """Whether an EfficientNetB0's weights were trained with ImageNet's factor after the Normalization layer.

    They were where the file was saved from a network that has the layer, or where its statistics are ImageNet's: Keras' own file is
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
    """A copy of the base from this layer on."""
    import keras

    rest = keras.Model(base.get_layer(first).input, base.output, name=base.name)
    copy = keras.models.clone_model(rest)
    copy.set_weights(rest.get_weights())
    return copy


def without_batch_norm(base: "keras.Model") -> "keras.Model":
    """The same function with every batch normalisation folded into the convolution before it.

    In inference mode a batch normalisation is a factor and an offset per channel, which the convolution's kernel and bias can
    hold (Jacob et al. 2018, section 3.2). Without it the base runs at twice the rate, and fine-tuning has no moving statistics
    that a training flag could ruin. Layers keep their names and numbers: what was a batch normalisation is an identity.

    Raises:
        ValueError: a batch normalisation follows something other than a convolution whose output nothing else reads.
    """
    import keras

    convolutions = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
    norm_after: dict[str, Any] = {}
    for layer in base.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            before = layer.input._keras_history.operation
            linear = isinstance(before, convolutions) and before.activation is keras.activations.linear
            if not linear or len(before._outbound_nodes) != 1:
                raise ValueError(f"{layer.name} follows {before.name}, into which it cannot be folded")
            norm_after[before.name] = layer

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
                copy.finalize_state()  # it computes with a copy of its weights
    return folded


def _folded(convolution: "keras.layers.Layer", norm: "keras.layers.BatchNormalization") -> list[NDArray[np.floating]]:
    """Kernel and bias of the convolution with the batch normalisation in them."""
    kernel, *rest = convolution.get_weights()
    bias = rest[0] if rest else 0.0
    mean, variance = norm.moving_mean.numpy(), norm.moving_variance.numpy()
    factor = (norm.gamma.numpy() if norm.scale else 1.0) / np.sqrt(variance + norm.epsilon)
    offset = (norm.beta.numpy() if norm.center else 0.0) - mean * factor
    # A depthwise kernel is (height, width, channels, 1), any other (height, width, in, channels).
    depthwise = type(convolution).__name__ == "DepthwiseConv2D"
    return [kernel * (factor[:, None] if depthwise else factor), bias * factor + offset]


def first_line(fault: Exception) -> str:
    return (str(fault).strip().splitlines() or [type(fault).__name__])[0]


def preprocess(pixels: Any, architecture: str, base: "keras.Model", factor: Sequence[float]) -> Any:
    """What the base, from its FIRST_LAYER on, was trained to be given."""
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
        base: the convolutional base, whose layers are meant.
        start: a layer's name, a block's name (as "block_13"), or a layer number.

    Returns:
        Names of the layers now trainable.

    Raises:
        LesionflowError: there is no such layer or block.
    """
    first = layer_number([layer.name for layer in base.layers], start)
    base.trainable = True
    for number, layer in enumerate(base.layers):
        layer.trainable = number >= first
    return [layer.name for layer in base.layers if layer.trainable and layer.weights]


def base_of(classifier: "keras.Model") -> "keras.Model":
    """The convolutional base within a classifier."""
    return classifier.get_layer("base")
