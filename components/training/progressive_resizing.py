"""Progressive resizing: the first epochs train on smaller images, which is faster (Howard and Gugger 2020, chapter 7; Touvron et al. 2019
on train and test resolution)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from components.runtime.params import Finetune

if TYPE_CHECKING:
    import keras

STRIDE = 32
"""Stride in pixels of the last feature maps in every backbone; image sizes are multiples of it, so no border is cut."""


def low_resolution_epochs(params: Finetune) -> int:
    """Number of first epochs that train on smaller images; never all epochs, so that a full-size epoch can be the best."""
    return int(params.low_resolution_epochs_fraction * params.epochs)


def low_resolution_size(params: Finetune, image_size: int) -> int:
    """Size in pixels of the smaller images: the nearest multiple of 32, at most `image_size`."""
    return min(image_size, STRIDE * max(1, round(params.low_resolution_size_fraction * image_size / STRIDE)))


def with_dynamic_input_size(network: "keras.Model") -> "keras.Model":
    """Copy of a classifier, or of its part up to any layer, that accepts images of any size, float32 (n, height, width, 3); layers are
    shared."""

    def shared(layer: "keras.layers.Layer") -> "keras.layers.Layer":
        return _resizable(layer) if layer.name == "base" else layer

    return _rewired(network, shared)


def _resizable(base: "keras.Model") -> "keras.Model":
    return _rewired(base, lambda layer: layer)


def _rewired(network: "keras.Model", layer_for: "Callable[[keras.layers.Layer], keras.layers.Layer]") -> "keras.Model":
    import keras

    return keras.models.clone_model(network, input_tensors=keras.Input((None, None, 3)), clone_function=layer_for)
