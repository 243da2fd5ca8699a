"""Pretrain the starter weights: a small MobileNetV2 that recognizes dermoscopic structures in procedural images.

    python -m components.synthetic.pretrain OUT.weights.h5 [--images N] [--epochs N] [--seed N]

The network is not trained on diagnoses. It is trained on chimeras, lesions that mix structures, colors and borders of any diagnosis, and
predicts the strength of every structure in `structures.STRUCTURES` and the value of every attribute. It thus learns to recognize
structures; the pipeline learns which of them indicate a melanoma. Chimeras use other random streams than the bundled dataset, so
they do not repeat it. Takes about 15 minutes on 2 cores.
"""

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from components.synthetic.canvas import Rng
from components.synthetic.lesions import Lesion
from components.synthetic.photograph import render
from components.synthetic.structures import STRUCTURES

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

ALPHA = 0.35
IMAGE_SIZE = 96  # width and height of the input in pixels
RENDERED_SIZE = 128  # image size of the bundled dataset in pixels; resized with the same filter as in the pipeline
STREAM = 0x57A27E2  # first word of every seed, different from those of the bundled dataset
BATCH = 32
PEAK_RATE = 2e-3
VALIDATION_SHARE = 0.08

# Ranges of the attributes; each attribute is also a target, scaled to 0 to 1.
ATTRIBUTES: dict[str, tuple[float, float]] = {
    "skin_tone": (0.0, 1.0),
    "radius": (0.38, 0.68),
    "elongation": (1.0, 1.5),
    "irregularity": (0.0, 1.0),
    "notches": (0.0, 1.0),
    "softness": (0.02, 0.4),
    "asymmetry": (0.0, 1.0),
    "pigment": (0.0, 1.0),
    "redness": (0.0, 0.6),
}
TARGETS = (*STRUCTURES, *ATTRIBUTES)


def draw_chimera(rng: Rng) -> Lesion:
    """Draw a lesion independent of diagnoses, with random attributes and zero to four structures."""
    attributes = {name: float(rng.uniform(*limits)) for name, limits in ATTRIBUTES.items()}
    attributes["notches"] *= float(rng.random() < 0.4)
    # Most lesions are mainly red or mainly brown; both together would hide the structures.
    absent = rng.choice(["pigment", "redness", "neither"], p=[0.35, 0.45, 0.2])
    if absent != "neither":
        attributes[absent] = 0.0
    present = set(rng.choice(len(STRUCTURES), size=rng.integers(0, 5), replace=False).tolist())
    structures = tuple((name, float(rng.beta(2.0, 1.5))) for index, name in enumerate(STRUCTURES) if index in present)
    return Lesion(diagnosis="chimera", seed=int(rng.integers(2**62)), structures=structures, **attributes)


def describe(lesion: Lesion) -> NDArray[np.float32]:
    """The targets of a lesion; float32, 0 to 1, in the order of `TARGETS`. A structure that is present is at least 0.5."""
    strengths = dict(lesion.structures)
    structure_targets = [0.5 + 0.5 * strengths[name] if name in strengths else 0.0 for name in STRUCTURES]
    attributes = [(getattr(lesion, name) - low) / (high - low) for name, (low, high) in ATTRIBUTES.items()]
    return np.clip(np.array(structure_targets + attributes, np.float32), 0, 1)


def example(seed: int, number: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Render an image, shape (96, 96, 3), and its targets."""
    rng = np.random.default_rng([STREAM, seed, number])
    lesion = draw_chimera(rng)
    image = Image.fromarray(render(lesion, RENDERED_SIZE, rng))
    return np.asarray(image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR)), describe(lesion)


def draw_examples(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Render images, shape (count, 96, 96, 3), and targets, shape (count, len(TARGETS)), on all cores."""
    images = np.empty((count, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    targets = np.empty((count, len(TARGETS)), np.float32)
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        examples = pool.map(partial(example, seed), range(count), chunksize=64)
        for index, (image, target) in enumerate(tqdm(examples, total=count, desc="drawing chimeras", unit="image", mininterval=1)):
            images[index], targets[index] = image, target
    return images, targets


def build() -> tuple["keras.Model", "keras.Model"]:
    """Build the base without top, and the model around it that predicts the targets."""
    import keras

    base = keras.applications.MobileNetV2(alpha=ALPHA, input_shape=(IMAGE_SIZE, IMAGE_SIZE, 3), include_top=False, weights=None)
    # With the default of 0.999, the moving statistics would need thousands of steps to converge.
    for layer in base.layers:
        if type(layer).__name__ == "BatchNormalization":
            layer.momentum = 0.99
    inputs = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(base(keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)))
    outputs = keras.layers.Dense(len(TARGETS), activation="sigmoid")(keras.layers.Dropout(0.1)(pooled))
    return base, keras.Model(inputs, outputs)


def batches(images: NDArray[np.uint8], targets: NDArray[np.float32], training: bool) -> "tf.data.Dataset":
    """Batches of float images and targets; shuffled and flipped for training."""
    import tensorflow as tf

    def flip(image: "tf.Tensor", target: "tf.Tensor") -> tuple["tf.Tensor", "tf.Tensor"]:
        return tf.image.random_flip_left_right(tf.image.random_flip_up_down(image)), target

    order = tf.data.Dataset.range(len(images))
    order = order.shuffle(len(images)) if training else order

    def lookup(indices: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        return images[indices], targets[indices]

    def gather(indices: "tf.Tensor") -> tuple["tf.Tensor", "tf.Tensor"]:
        # In NumPy, because a tensor constant would store the images in the graph a second time.
        image, target = tf.numpy_function(lookup, [indices], (tf.uint8, tf.float32))
        image.set_shape((None, IMAGE_SIZE, IMAGE_SIZE, 3))
        target.set_shape((None, len(TARGETS)))
        return tf.cast(image, tf.float32), target

    dataset = order.batch(BATCH, drop_remainder=training).map(gather, num_parallel_calls=2)
    return (dataset.map(flip, num_parallel_calls=2) if training else dataset).prefetch(2)


def report(predicted: NDArray[np.float32], targets: NDArray[np.float32]) -> None:
    """Print the ROC AUC of each structure and the mean absolute error of each attribute."""
    from sklearn.metrics import roc_auc_score

    auc_of_structure = {name: roc_auc_score(targets[:, i] > 0, predicted[:, i]) for i, name in enumerate(STRUCTURES)}
    first = len(STRUCTURES)
    error_of_attribute = {name: np.abs(targets[:, first + i] - predicted[:, first + i]).mean() for i, name in enumerate(ATTRIBUTES)}
    for metric, values in (("AUC", auc_of_structure), ("absolute error", error_of_attribute)):
        print(*(f"  {name:<20} {value:.3f}" for name, value in values.items()), sep="\n")
        print(f"mean validation {metric}: {np.mean(list(values.values())):.3f}")


def pretrain(path: Path, images: int, epochs: int, seed: int) -> None:
    """Render chimeras, train on them and write the weights of the base atomically."""
    pixels, targets = draw_examples(images, seed)
    import keras

    keras.utils.set_random_seed(seed)
    held_out = max(BATCH, int(images * VALIDATION_SHARE))
    training = batches(pixels[held_out:], targets[held_out:], training=True)
    validation = batches(pixels[:held_out], targets[:held_out], training=False)
    base, model = build()
    steps = epochs * len(training)
    learning_rate = keras.optimizers.schedules.CosineDecay(PEAK_RATE / 10, steps, warmup_target=PEAK_RATE, warmup_steps=max(1, steps // 20))
    model.compile(optimizer=keras.optimizers.Adam(learning_rate), loss="binary_crossentropy")
    model.fit(training, validation_data=validation, epochs=epochs, verbose=2 if not sys.stdout.isatty() else 1)
    report(model.predict(validation, verbose=0), targets[:held_out])
    path.parent.mkdir(parents=True, exist_ok=True)
    partial_path = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        base.save_weights(partial_path)
        partial_path.replace(path)
    finally:
        partial_path.unlink(missing_ok=True)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m components.synthetic.pretrain", description="Make the starter weights on procedural images."
    )
    parser.add_argument("path", type=Path, metavar="OUT.weights.h5", help="file to write")
    parser.add_argument("--images", type=int, default=14_000, metavar="N", help="number of chimeras (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=12, metavar="N", help="number of epochs (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of chimeras and training (default: %(default)s)")
    options = parser.parse_args(arguments)
    if not options.path.name.endswith(".weights.h5"):
        parser.error(f"OUT must end in .weights.h5, as Keras requires; got {options.path}")
    pretrain(options.path, options.images, options.epochs, options.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
