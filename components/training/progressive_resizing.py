"""Progressive resizing: the first epochs train on smaller pictures, which cost less and show the same (Howard and Gugger 2020,
chapter 7; Touvron et al. 2019 on train and test resolution)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from components.runtime.params import Finetune

if TYPE_CHECKING:
    import keras

STRIDE = 32
"""Pixels of the picture that one position of the last maps stands for, in every backbone: multiples of it leave no odd edge."""


def small_epochs(params: Finetune) -> int:
    """How many epochs, the first, train on smaller pictures: never all, so that the best can be one of full size."""
    return int(params.small_share * params.epochs)


def small_size(params: Finetune, image_size: int) -> int:
    """Side in pixels of the smaller pictures, the nearest multiple of 32 where `image_size` leaves room for one."""
    return min(image_size, STRIDE * max(1, round(params.small_side * image_size / STRIDE)))


def of_any_size(network: "keras.Model") -> "keras.Model":
    """A classifier, up to whichever layer, that takes pictures of any size, float32 (n, height, width, 3); layers are shared."""

    def shared(layer: "keras.layers.Layer") -> "keras.layers.Layer":
        return _resizable(layer) if layer.name == "base" else layer

    return _rewired(network, shared)


def _resizable(base: "keras.Model") -> "keras.Model":
    return _rewired(base, lambda layer: layer)


def _rewired(network: "keras.Model", layer_for: "Callable[[keras.layers.Layer], keras.layers.Layer]") -> "keras.Model":
    import keras

    return keras.models.clone_model(network, input_tensors=keras.Input((None, None, 3)), clone_function=layer_for)
