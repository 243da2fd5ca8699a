"""What each idea is worth: one training of the whole classifier per variant and seed of the split, scored on validation and test.

Run `dvc repro validate` first, in a project with real images, then this from its root. Each row is written as soon as it is
measured; what has a row is not run again, so the table can be stopped and taken up, and grow over days. Choose by the
validation columns; test is there to report.
"""

import argparse
import json
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import machine
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from components import catalog, images, metrics, model, rendering, shifts, split, transfer
from components.classes import CLASSES
from components.paths import DATA
from components.settings import Augment, Settings, load
from components.stage import load_tensorflow

NAME = "ablation"
MILD = {
    "rotation": 180,
    "flips": True,
    "shift": 0.08,
    "shear": 8,
    "zoom": (0.85, 1.18),
    "aspect": 1.0,
    "brightness": 0.12,
    "contrast": 0.15,
}
NONE = {"saturation": 0, "white_balance": 0, "blur": 0, "jpeg": 0, "vignette": 0}
AHEAD = 12
"""Batches that are rendered while earlier ones are trained on."""


@dataclass(frozen=True)
class Variant:
    """Knobs of one training. `augment` replaces those of params.yaml; every other value is the default of the table."""

    augment: dict[str, Any] | None = None
    unfreeze_from: str | int = "block_3"
    learning_rate: float = 3e-4
    epochs: int = 20
    balance: str = "weights"
    """weights: class weights; sampling: each class drawn alike; logits: the loss sees logits plus log prior (Menon et al. 2021); none."""
    label_smoothing: float = 0.0
    mixup: float = 0.0
    focal: float = 0.0
    dropout: float = 0.3
    batch_size: int = 32
    average: float = 0.99
    """Momentum of the exponential moving average of the weights, which is scored beside the last weights."""


BASE = Variant()
VARIANTS = {
    "default": BASE,
    "mild augmentation": replace(BASE, augment={**MILD, **NONE}),
    "from block_6": replace(BASE, unfreeze_from="block_6"),
    "from block_10": replace(BASE, unfreeze_from="block_10"),
    "whole network": replace(BASE, unfreeze_from=0),
    "rate 1e-3": replace(BASE, learning_rate=1e-3),
    "rate 1e-4": replace(BASE, learning_rate=1e-4),
    "40 epochs": replace(BASE, epochs=40),
    "mixup 0.3, 30 epochs": replace(BASE, mixup=0.3, epochs=30),
    "label smoothing 0.1": replace(BASE, label_smoothing=0.1),
    "focal 2": replace(BASE, focal=2.0),
    "balanced sampling": replace(BASE, balance="sampling"),
    "logit adjustment": replace(BASE, balance="logits"),
    "no balancing": replace(BASE, balance="none"),
}


def main() -> None:
    """Measure what has no row yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME", help="(default: all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="N", help="seeds of the split (default: 0)")
    given = parser.parse_args()
    settings = load()
    path = machine.RESULTS / f"{NAME}.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"] if path.exists() else []
    for seed in given.seeds:
        for name in given.variants:
            if not any(row["variant"] == name and row["seed"] == seed and row["knobs"] == plain(VARIANTS[name]) for row in rows):
                rows.append(
                    {"variant": name, "seed": seed, "knobs": plain(VARIANTS[name]), **measure(name, VARIANTS[name], seed, settings)}
                )
                machine.write(NAME, {"machine": machine.described(), "rows": rows})
    wanted = [row for row in rows if row["variant"] in given.variants]
    print(pd.DataFrame([{"variant": row["variant"], "seed": row["seed"], **row["figures"]} for row in wanted]).to_string(index=False))


def plain(variant: Variant) -> Any:
    """The knobs as JSON gives them back."""
    return json.loads(json.dumps(asdict(variant)))


def measure(name: str, variant: Variant, seed: int, settings: Settings) -> dict[str, Any]:
    """Train once and score; seconds are of training alone."""
    frame = catalog.usable()
    frame["side"] = split.deal(list(frame["diagnosis"]), split.group(frame), settings.split.test, settings.split.validation, seed)
    frame["target"] = frame["diagnosis"].map(CLASSES.index)
    pictures = {
        path: images.decode((DATA / path).read_bytes()) for path in tqdm(frame["path"], desc="decoding", unit="image", mininterval=1)
    }
    knobs = settings.augment if variant.augment is None else settings.augment.model_copy(update=variant.augment)
    renderers = multiprocessing.get_context("fork").Pool(os.cpu_count(), _keep, (pictures, knobs, settings.base.image_size))
    with renderers:  # before TensorFlow has threads that a fork would lose
        return _train_and_score(name, variant, seed, settings, frame, pictures, renderers)


def _train_and_score(
    name: str, variant: Variant, seed: int, settings: Settings, frame: pd.DataFrame, pictures: dict[str, Image.Image], renderers: Any
) -> dict[str, Any]:
    load_tensorflow()
    import keras

    keras.utils.set_random_seed(seed)
    size = settings.base.image_size
    sides = {side: frame[frame["side"] == side] for side in catalog.SIDES}
    extractor = model.build_extractor(settings.base)
    head = model.build_head(
        extractor.output_shape[-1], settings.train.model_copy(update={"hidden": (), "dropout": variant.dropout}), len(CLASSES)
    )
    network = keras.Model(extractor.input, head(extractor.output))

    def fitted(side: str, change: Callable[[Image.Image], Image.Image] = lambda image: image) -> NDArray[np.uint8]:
        return np.stack([images.fit(change(pictures[path]), size) for path in sides[side]["path"]])

    clean = {side: fitted(side) for side in catalog.SIDES}
    targets = {side: rows["target"].to_numpy() for side, rows in sides.items()}
    head.get_layer("logits").set_weights(_linear(_predict(extractor, clean["train"]), targets["train"]))
    figures = {"frozen val": metrics.balanced_accuracy(targets["validation"], _predict(network, clean["validation"]))}
    figures["frozen test"] = metrics.balanced_accuracy(targets["test"], _predict(network, clean["test"]))

    model.unfreeze(extractor.get_layer("base"), variant.unfreeze_from)
    batches = plan(sides["train"], variant, seed)
    step = _stepper(network, variant, targets["train"], len(batches))
    start = time.perf_counter()
    for pixels, target in tqdm(_rendered(batches, renderers), total=len(batches), desc=f"{name}, seed {seed}", unit="batch", mininterval=5):
        step(pixels, target)
    seconds = time.perf_counter() - start

    def both(label: str) -> None:
        for side, short in (("validation", "val"), ("test", "test")):
            figures[f"{label} {short}"] = metrics.balanced_accuracy(targets[side], _predict(network, clean[side]))
            turned = np.mean([_predict(network, np.flip(clean[side], axes)) for axes in ((), 1, 2, (1, 2))], axis=0)
            figures[f"{label} flips {short}"] = metrics.balanced_accuracy(targets[side], turned)

    both("last")
    network.optimizer.finalize_variable_values(network.trainable_variables)
    both("averaged")
    found = _predict(network, clean["test"])
    plain_accuracy = metrics.balanced_accuracy(targets["test"], found)
    melanoma = CLASSES.index("melanoma")
    figures |= {
        "macro F1 test": metrics.macro_f1(targets["test"], found),
        "melanoma test": metrics.sensitivity(targets["test"] == melanoma, found.argmax(axis=1) == melanoma),
    }
    lost = {
        shift: plain_accuracy - metrics.balanced_accuracy(targets["test"], _predict(network, fitted("test", change)))
        for shift, change in shifts.SHIFTS.items()
    }
    figures["worst shift"] = max(lost.values())
    rounded = {key: round(value, 4) for key, value in figures.items()}
    return {"figures": rounded, "lost_under_shift": {key: round(value, 4) for key, value in lost.items()}, "seconds": round(seconds)}


def plan(rows: pd.DataFrame, variant: Variant, seed: int) -> list[tuple[list[str], NDArray[np.int64], list[int]]]:
    """Batches of all epochs: paths, targets, and a number for each view to be drawn from."""
    random = np.random.default_rng(seed)
    target, paths = rows["target"].to_numpy(), rows["path"].to_numpy(dtype=str)
    whole = []
    for _ in range(variant.epochs):
        order = random.permutation(len(rows))
        if variant.balance == "sampling":
            each = -(-len(rows) // len(CLASSES))
            order = np.concatenate([random.choice(np.flatnonzero(target == number), each) for number in range(len(CLASSES))])
            random.shuffle(order)
        whole.append(order)
    views = np.concatenate(whole)
    cuts = range(0, len(views), variant.batch_size)
    parts = [range(cut, min(cut + variant.batch_size, len(views))) for cut in cuts]
    return [(list(paths[views[part]]), target[views[part]], [seed * 10**9 + number for number in part]) for part in parts]


def _keep(pictures: dict[str, Image.Image], knobs: Augment, size: int) -> None:
    global _pictures, _knobs, _size
    _pictures, _knobs, _size = pictures, knobs, size


def _render(paths: list[str], seeds: list[int]) -> NDArray[np.uint8]:
    return np.stack(
        [rendering.render(_pictures[path], _size, _knobs, np.random.default_rng(seed)) for path, seed in zip(paths, seeds, strict=True)]
    )


def _rendered(
    batches: list[tuple[list[str], NDArray[np.int64], list[int]]], renderers: Any
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    waiting: deque[tuple[Any, NDArray[np.int64]]] = deque()
    for paths, target, seeds in batches:
        waiting.append((renderers.apply_async(_render, (paths, seeds)), target))
        if len(waiting) > AHEAD:
            found, oldest = waiting.popleft()
            yield found.get(), oldest
    for found, oldest in waiting:
        yield found.get(), oldest


def _stepper(network: Any, variant: Variant, targets: NDArray[np.int64], steps: int) -> Callable[[Any, Any], None]:
    """A function that takes one training step."""
    import keras
    import tensorflow as tf

    counts = np.bincount(targets, minlength=len(CLASSES))
    weight = tf.constant(len(targets) / (len(CLASSES) * counts) if variant.balance == "weights" else np.ones(len(CLASSES)), tf.float32)
    prior = tf.constant(np.log(counts / len(targets)) if variant.balance == "logits" else np.zeros(len(CLASSES)), tf.float32)
    warm = max(1, steps // variant.epochs)
    rate = keras.optimizers.schedules.CosineDecay(0.0, max(1, steps - warm), warmup_target=variant.learning_rate, warmup_steps=warm)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=1e-4, clipnorm=1.0, use_ema=True, ema_momentum=variant.average)
    network.compile(optimizer=optimizer)
    optimizer.build(network.trainable_variables)

    @tf.function(reduce_retracing=True)
    def step(pixels: Any, target: Any) -> None:
        pixels, wanted = tf.cast(pixels, tf.float32), tf.one_hot(target, len(CLASSES))
        weights = tf.reduce_sum(wanted * weight, axis=-1)
        wanted = wanted * (1 - variant.label_smoothing) + variant.label_smoothing / len(CLASSES)
        if variant.mixup:
            one, other = tf.unstack(tf.random.gamma([2], variant.mixup))
            share, order = one / (one + other), tf.random.shuffle(tf.range(tf.shape(target)[0]))
            pixels, wanted, weights = (share * x + (1 - share) * tf.gather(x, order) for x in (pixels, wanted, weights))
        with tf.GradientTape() as tape:
            found = tf.nn.log_softmax(network(pixels, training=True) + prior)
            losses = -tf.reduce_sum(wanted * (1 - tf.exp(found)) ** variant.focal * found, axis=-1)
            loss = tf.reduce_mean(losses * weights)
        optimizer.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)

    return step


def _linear(features: NDArray[np.float32], target: NDArray[np.int64]) -> list[NDArray[np.float64]]:
    """Kernel and bias of a balanced logistic regression on the features: where fine-tuning starts."""
    scaler, head = (step for _, step in transfer.linear_head(features, target).steps)
    kernel = (head.coef_ / scaler.scale_).T
    return [kernel, head.intercept_ - scaler.mean_ @ kernel]


def _predict(network: Any, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = network.predict(pixels, batch_size=64, verbose=0)
    return found


if __name__ == "__main__":
    main()
