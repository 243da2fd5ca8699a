"""Make the starter weights: a small MobileNetV2 that has learned to see dermoscopic structures on procedural images.

    python -m components.synthetic.pretrain OUT.weights.h5 [--images N] [--epochs N] [--seed N]

The network never sees a diagnosis. It is trained on chimeras, lesions that mix structures, colours and borders of any diagnosis, and names
what each one shows: the strength of every structure of `dermoscopy.STRUCTURES` and of every attribute of the ground. So it learns to see
structures; which of them make a melanoma is left to the pipeline. Chimeras come from other random streams than the bundled sample, so
they never repeat it. About 15 minutes on 2 cores.
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
IMAGE_SIZE = 96  # pixels a side that the network sees
RENDERED_SIZE = 128  # pixels a side of the bundled sample; reduced with the same filter as the pipeline does
STREAM = 0x57A27E2  # first word of every seed, out of reach of the bundled sample's
BATCH = 32
PEAK_RATE = 2e-3
VALIDATION_SHARE = 0.08

# Ranges of the ground; each is also a target, scaled to 0 to 1.
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
    """A lesion that no diagnosis describes: any ground, with none to four structures of any kind."""
    ground = {name: float(rng.uniform(*limits)) for name, limits in ATTRIBUTES.items()}
    ground["notches"] *= float(rng.random() < 0.4)
    # Most grounds are mostly red or mostly brown; both at once would hide the structures.
    absent = rng.choice(["pigment", "redness", "neither"], p=[0.35, 0.45, 0.2])
    if absent != "neither":
        ground[absent] = 0.0
    present = set(rng.choice(len(STRUCTURES), size=rng.integers(0, 5), replace=False).tolist())
    structures = tuple((name, float(rng.beta(2.0, 1.5))) for index, name in enumerate(STRUCTURES) if index in present)
    return Lesion(diagnosis="chimera", seed=int(rng.integers(2**62)), structures=structures, **ground)


def describe(lesion: Lesion) -> NDArray[np.float32]:
    """What the network should say of a lesion; float32, 0 to 1, in the order of `TARGETS`. A faint structure that is there counts 0.5."""
    strengths = dict(lesion.structures)
    shown = [0.5 + 0.5 * strengths[name] if name in strengths else 0.0 for name in STRUCTURES]
    ground = [(getattr(lesion, name) - low) / (high - low) for name, (low, high) in ATTRIBUTES.items()]
    return np.clip(np.array(shown + ground, np.float32), 0, 1)


def example(seed: int, number: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """An image, shape (96, 96, 3), and its targets."""
    rng = np.random.default_rng([STREAM, seed, number])
    lesion = draw_chimera(rng)
    image = Image.fromarray(render(lesion, RENDERED_SIZE, rng))
    return np.asarray(image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR)), describe(lesion)


def draw_examples(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Images, shape (count, 96, 96, 3), and targets, shape (count, len(TARGETS)), drawn on every core."""
    images = np.empty((count, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    targets = np.empty((count, len(TARGETS)), np.float32)
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        drawn = pool.map(partial(example, seed), range(count), chunksize=64)
        for index, (image, target) in enumerate(tqdm(drawn, total=count, desc="drawing chimeras", unit="image", mininterval=1)):
            images[index], targets[index] = image, target
    return images, targets


def build() -> tuple["keras.Model", "keras.Model"]:
    """The base without a top, and the model around it that names structures."""
    import keras

    base = keras.applications.MobileNetV2(alpha=ALPHA, input_shape=(IMAGE_SIZE, IMAGE_SIZE, 3), include_top=False, weights=None)
    # Keras' default of 0.999 needs thousands of steps before inference sees the true statistics.
    for layer in base.layers:
        if type(layer).__name__ == "BatchNormalization":
            layer.momentum = 0.99
    inputs = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(base(keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)))
    outputs = keras.layers.Dense(len(TARGETS), activation="sigmoid")(keras.layers.Dropout(0.1)(pooled))
    return base, keras.Model(inputs, outputs)


def batches(images: NDArray[np.uint8], targets: NDArray[np.float32], training: bool) -> "tf.data.Dataset":
    """Batches of float images and targets; in training shuffled and flipped."""
    import tensorflow as tf

    def flipped(image: "tf.Tensor", target: "tf.Tensor") -> tuple["tf.Tensor", "tf.Tensor"]:
        return tf.image.random_flip_left_right(tf.image.random_flip_up_down(image)), target

    order = tf.data.Dataset.range(len(images))
    order = order.shuffle(len(images)) if training else order

    def lookup(indices: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        return images[indices], targets[indices]

    def gather(indices: "tf.Tensor") -> tuple["tf.Tensor", "tf.Tensor"]:
        # From NumPy, because a tensor constant of this size would stand in the graph a second time.
        image, target = tf.numpy_function(lookup, [indices], (tf.uint8, tf.float32))
        image.set_shape((None, IMAGE_SIZE, IMAGE_SIZE, 3))
        target.set_shape((None, len(TARGETS)))
        return tf.cast(image, tf.float32), target

    dataset = order.batch(BATCH, drop_remainder=training).map(gather, num_parallel_calls=2)
    return (dataset.map(flipped, num_parallel_calls=2) if training else dataset).prefetch(2)


def report(predicted: NDArray[np.float32], targets: NDArray[np.float32]) -> None:
    """Print how well structures are detected (area under the ROC curve) and attributes estimated (mean absolute error)."""
    from sklearn.metrics import roc_auc_score

    detected = {name: roc_auc_score(targets[:, i] > 0, predicted[:, i]) for i, name in enumerate(STRUCTURES)}
    first = len(STRUCTURES)
    estimated = {name: np.abs(targets[:, first + i] - predicted[:, first + i]).mean() for i, name in enumerate(ATTRIBUTES)}
    for figure, values in (("AUC", detected), ("absolute error", estimated)):
        print(*(f"  {name:<20} {value:.3f}" for name, value in values.items()), sep="\n")
        print(f"mean validation {figure}: {np.mean(list(values.values())):.3f}")


def pretrain(path: Path, images: int, epochs: int, seed: int) -> None:
    """Draw chimeras, train on them and write the base's weights; the file appears complete or not at all."""
    drawn, targets = draw_examples(images, seed)
    import keras

    keras.utils.set_random_seed(seed)
    held_out = max(BATCH, int(images * VALIDATION_SHARE))
    training = batches(drawn[held_out:], targets[held_out:], training=True)
    validation = batches(drawn[:held_out], targets[:held_out], training=False)
    base, model = build()
    steps = epochs * len(training)
    rate = keras.optimizers.schedules.CosineDecay(PEAK_RATE / 10, steps, warmup_target=PEAK_RATE, warmup_steps=max(1, steps // 20))
    model.compile(optimizer=keras.optimizers.Adam(rate), loss="binary_crossentropy")
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
    parser.add_argument("--images", type=int, default=14_000, metavar="N", help="chimeras to draw (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=12, metavar="N", help="passes over them (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the chimeras and the training (default: %(default)s)")
    options = parser.parse_args(arguments)
    if not options.path.name.endswith(".weights.h5"):
        parser.error(f"OUT must end in .weights.h5, as Keras demands; got {options.path}")
    pretrain(options.path, options.images, options.epochs, options.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
