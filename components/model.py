"""Backbones, heads and unfreezing: how a classifier is put together, saved and read back.

A classifier maps float32 pixels (n, size, size, 3) in 0 to 255 to probabilities: preprocessing, the base, global average
pooling ("features"), the head ("head", ending in logits), a division by the temperature, softmax or sigmoid.
"""

import json
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from components.architectures import layer_number
from components.classes import output_names
from components.errors import LesionflowError
from components.files import existing, replacing, sha256
from components.settings import Backbone, Train

if TYPE_CHECKING:
    import keras

IMAGENET = "imagenet"
IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)  # what ResNet50's weights were trained with (He et al. 2016, as in Keras)
IMAGENET_DEVIATION_RGB = (0.229, 0.224, 0.225)  # what EfficientNetB0's weights hold as variance, as in Keras
IMAGENET_FACTOR = tuple(deviation**-0.5 for deviation in IMAGENET_DEVIATION_RGB)
FIRST_LAYER = {"EfficientNetB0": "stem_conv_pad"}
"""Where the base begins in an architecture to which Keras gives preprocessing of its own; what is before becomes one layer."""
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
SHARED_OBJECT = re.compile(rb'("shared_object_id": )(\d+)')


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
    ready = _preprocess(pixels, architecture, base, factor)
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
                f"ImageNet weights of {architecture} cannot be had: {_first_line(fault)}\n"
                "without a network, put a no-top weights file on disk and its path into params.yaml, backbones.<name>.weights"
            ) from None
        raise LesionflowError(
            f"{weights} holds no weights of {architecture} (alpha {backbone.alpha}) without its top: {_first_line(fault)}"
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


def _first_line(fault: Exception) -> str:
    return (str(fault).strip().splitlines() or [type(fault).__name__])[0]


def _preprocess(pixels: Any, architecture: str, base: "keras.Model", factor: Sequence[float]) -> Any:
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


def build_head(width: int, knobs: Train, outputs: int) -> "keras.Sequential":
    """Dropout and dense layers from features to logits, (n, 9), or (n, 1) for the binary task."""
    import keras

    layers: list[keras.layers.Layer] = [keras.Input((width,), name="pooled")]
    for number, units in enumerate(knobs.hidden, start=1):
        layers += [keras.layers.Dropout(knobs.dropout), keras.layers.Dense(units, activation="relu", name=f"hidden_{number}")]
    layers += [keras.layers.Dropout(knobs.dropout), keras.layers.Dense(outputs, name="logits")]
    return keras.Sequential(layers, name="head")


def logit_count(task: str) -> int:
    """Nine logits, or one for the binary task."""
    return len(output_names(task)) if task == "multiclass" else 1


def assemble(extractor: "keras.Model", head: "keras.Model", task: str, temperature: float = 1.0) -> "keras.Model":
    """The whole classifier; `extractor` and `head` are shared, not copied."""
    import keras

    scaled = keras.layers.Rescaling(1 / temperature, name="temperature")(head(extractor.output))
    squash = "softmax" if task == "multiclass" else "sigmoid"
    return keras.Model(extractor.input, keras.layers.Activation(squash, name="probabilities")(scaled), name="classifier")


def logits_of(classifier: "keras.Model") -> "keras.Model":
    """The same classifier up to its logits, before the temperature; layers are shared."""
    import keras

    return keras.Model(classifier.input, classifier.get_layer("temperature").input)


def compiled(network: "keras.Model") -> Callable[[NDArray[np.generic]], NDArray[np.float32]]:
    """The network in inference mode as a function of pixels (n, size, size, 3), traced once for every batch size."""
    import tensorflow as tf

    signature = tf.TensorSpec(network.input_shape, tf.float32)
    graph = tf.function(lambda pixels: network(pixels, training=False), input_signature=[signature])
    return lambda pixels: graph(tf.constant(pixels, tf.float32)).numpy()


def extractor_of(classifier: "keras.Model") -> "keras.Model":
    """The classifier up to its pooled features, as `build_extractor` makes it; layers are shared."""
    import keras

    return keras.Model(classifier.input, classifier.get_layer("features").output)


def lift_logits(classifier: "keras.Model", lift: NDArray[np.floating]) -> None:
    """Add `lift`, shape (outputs,), to the classifier's logits, in the bias of its last layer, so that every copy and export has it."""
    bias = classifier.get_layer("head").get_layer("logits").bias
    bias.assign_add(lift)


def with_temperature(classifier: "keras.Model", task: str, temperature: float) -> "keras.Model":
    """The classifier with its logits divided by `temperature` (Guo et al. 2017); layers are shared."""
    return assemble(extractor_of(classifier), classifier.get_layer("head"), task, temperature)


def probabilities(logits: NDArray[np.floating], task: str, temperature: float = 1.0) -> NDArray[np.float64]:
    """What the classifier reports for these logits: shape (n, 9), or (n, 2) as benign, malignant."""
    from scipy.special import expit, softmax

    scaled = logits.astype(np.float64) / temperature
    if task == "multiclass":
        return np.asarray(softmax(scaled, axis=1))
    malignant = expit(scaled[:, 0])
    return np.stack([1 - malignant, malignant], axis=1)


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


def save(classifier: "keras.Model", path: Path) -> None:
    """Write a .keras file whose bytes depend on nothing but the model: Keras' own hold the time of day and memory addresses."""
    with replacing(path) as draft:
        raw = draft.with_name(f".{path.stem}.raw.keras")
        try:
            classifier.save(raw)
            with zipfile.ZipFile(raw) as source, zipfile.ZipFile(draft, "w") as target:
                for name in source.namelist():
                    target.writestr(zipfile.ZipInfo(name, ZIP_EPOCH), _settled(name, source.read(name)))
        finally:
            raw.unlink(missing_ok=True)


def _settled(name: str, content: bytes) -> bytes:
    if name == "metadata.json":
        version = json.loads(content)["keras_version"]
        return json.dumps({"keras_version": version, "date_saved": "1980-01-01@00:00:00"}).encode()
    if name == "config.json":
        numbers: dict[bytes, int] = {}
        return SHARED_OBJECT.sub(lambda found: found[1] + str(numbers.setdefault(found[2], len(numbers))).encode(), content)
    return content


def read(path: Path) -> "keras.Model":
    """Read a classifier back.

    Raises:
        LesionflowError: the file is missing, or no classifier of ours.
    """
    import keras

    try:
        classifier = keras.models.load_model(existing(path), compile=False)
    except (OSError, ValueError) as fault:
        raise LesionflowError(f"{path} is no saved classifier: {_first_line(fault)}") from None
    return classifier


def fingerprint(path: Path) -> str:
    """Hex sha256 of what a saved classifier is; see `save` for why equal models have equal bytes."""
    return sha256(existing(path))
