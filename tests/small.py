"""A classifier and shards small enough that a test trains on them in seconds."""

from pathlib import Path

import numpy as np

from components import model
from components.classes import CLASSES
from components.records import View, Writer, as_png
from components.settings import Train
from tests.conftest import noise

HEAD = Train(hidden=(8,), dropout=0.1, learning_rate=0.01, batch_size=8, epochs=1, patience=1, class_weights=1.0)


def write_shards(root: Path, size: int = 32, views: int = 1) -> Path:
    """24 training images, in `views` each, and 9 of validation, of nine classes."""
    for side, count, each in (("train", 24, views), ("validation", 9, 1)):
        with Writer(root / side, count * each, size, seed=0) as writer:
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


def classifier(architecture: str = "small", size: int = 32):
    """A classifier with random, frozen weights, always the same, on residual blocks or on an architecture of Keras'."""
    import keras

    keras.utils.set_random_seed(1)
    pixels = keras.Input((size, size, 3), name="pixels")
    if architecture == "small":
        within = keras.Input((size, size, 3))
        base = keras.Model(within, residual(within), name="base")
        ready = keras.layers.Rescaling(1 / 127.5, offset=-1, name="preprocessing")(pixels)
    else:
        width = {"alpha": 0.35} if architecture == "MobileNetV2" else {}
        build = getattr(keras.applications, architecture)
        base = model.without_batch_norm(build(include_top=False, weights=None, input_shape=(size, size, 3), name="base", **width))
        ready = model._preprocess(pixels, architecture)
    base.trainable = False
    features = keras.layers.GlobalAveragePooling2D(name="features")(base(ready, training=False))
    extractor = keras.Model(pixels, features)
    return model.assemble(extractor, model.build_head(extractor.output_shape[-1], HEAD, 9), "multiclass")
