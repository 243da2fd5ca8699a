"""Prepares a classifier for int8: rounds the kernels of a copy so that TFLite rounds nothing more, and names what stays in float.

TFLite rounds each tap to the nearest value of its filter's grid. That breaks depthwise filters whose taps cancel, above all those of the
first block, which look at the image's colors. So filters of depthwise convolutions keep their sums, the biases take back what the rounding
of all kernels adds on average, and preprocessing, the first block and the head are not quantized.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from components.exporting import rounding
from components.modeling.backbone import get_base

if TYPE_CHECKING:
    import keras

Batches = Callable[[], Iterable[NDArray[np.uint8]]]
"""Yields batches of views, uint8 (n, size, size, 3), from the start at each call."""


def first_block(classifier: "keras.Model") -> list[str]:
    """Names of the base's layers up to the end of the block with the first depthwise convolution; empty if there is none."""
    names = [layer.name for layer in get_base(classifier).layers]
    depthwise = next((layer.name for layer in get_base(classifier).layers if is_depthwise(layer)), None)
    if depthwise is None:
        return []
    block = depthwise.rpartition("_")[0]
    last = max(number for number, name in enumerate(names) if name.startswith(f"{block}_"))
    return names[: last + 1]


def is_depthwise(layer: "keras.layers.Layer") -> bool:
    """Whether each input channel of the layer has filters of its own."""
    return type(layer).__name__ == "DepthwiseConv2D"


def rounded_copy(classifier: "keras.Model", batches: Batches, in_float: Sequence[str]) -> "keras.Model":
    """Copy a classifier, with the kernels of its base on the int8 grid and with corrected biases.

    Args:
        classifier: the candidate; it keeps its weights.
        batches: views from which the mean input of each convolution is taken.
        in_float: names of the base's layers that are not quantized; they are copied unchanged.
    """
    import keras

    layers = [layer for layer in get_base(classifier).layers if layer.name not in in_float and hasattr(layer, "kernel")]
    means = mean_inputs(classifier, layers, batches)
    copy = keras.models.clone_model(classifier)
    copy.set_weights(classifier.get_weights())
    for layer, mean in zip(layers, means, strict=True):
        get_base(copy).get_layer(layer.name).set_weights(rounded_weights(layer, mean))
    return copy


def mean_inputs(classifier: "keras.Model", layers: Sequence["keras.layers.Layer"], batches: Batches) -> list[NDArray[np.float64]]:
    """The mean of each layer's input per channel, over views and places, shape (channels,)."""
    import keras

    preprocess = keras.Model(classifier.input, classifier.get_layer("preprocessing").output)
    pooled = [keras.layers.GlobalAveragePooling2D()(layer.input) for layer in layers]
    probe = keras.Model(get_base(classifier).input, pooled)
    sums, count = [np.zeros(tensor.shape[-1]) for tensor in pooled], 0
    for batch in batches():
        found = probe(preprocess(batch.astype(np.float32)), training=False)
        sums = [total + means.numpy().sum(axis=0, dtype=np.float64) for total, means in zip(sums, found, strict=True)]
        count += len(batch)
    return [total / count for total in sums]


def rounded_weights(layer: "keras.layers.Layer", mean_input: NDArray[np.floating]) -> list[NDArray[np.floating]]:
    """The layer's kernel on the int8 grid and its bias, if it has one, less what the rounding adds on average."""
    kernel, *rest = layer.get_weights()
    depthwise = is_depthwise(layer)
    if depthwise:
        filters = rounding.round_keeping_sums(rounding.depthwise_filters(kernel))
    else:
        filters = rounding.round_to_nearest(rounding.convolution_filters(kernel))
    rounded = filters.T.reshape(kernel.shape)
    shift = rounding.output_shift(rounded - kernel, mean_input, depthwise)
    return [rounded, *(bias - shift for bias in rest)]


def float_tensors(operators: Sequence[str], in_float: Sequence[str]) -> list[str]:
    """Names of the tensors that are not quantized: outputs of everything up to the first block and of everything after the base.

    Args:
        operators: name of each operator's output in a TFLite file, in order, which holds the names of its Keras layers.
        in_float: names of the first block's layers.
    """
    first = max(number for number, name in enumerate(operators) if any(_is_of(name, layer) for layer in in_float))
    last = max(number for number, name in enumerate(operators) if _is_of(name, "base"))
    return [*operators[: first + 1], *operators[last + 1 :]]


def _is_of(name: str, layer: str) -> bool:
    return re.search(rf"(^|/){re.escape(layer)}(_\d+)?/", name) is not None


def as_converter_input(batches: Batches) -> Iterator[list[NDArray[np.float32]]]:
    """The views one a time, as the converter wants them."""
    for batch in batches():
        for pixels in batch:
            yield [pixels[None].astype(np.float32)]
