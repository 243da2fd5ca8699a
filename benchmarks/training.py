"""Trains one variant of the ablation, with new views for every step, and predicts with the trained network."""

import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from benchmarks.harness.labels import CLASSES
from benchmarks.variants import PREPARATIONS, Variant, class_weights
from components.augmentation import transforms
from components.evaluation import leave_one_collection_out
from components.imaging import images
from components.modeling import classifier
from components.modeling.backbone import build_base, unfreeze
from components.modeling.determinism import seed_generators
from components.runtime.params import Augment, Settings
from components.training import progressive_resizing

AHEAD = 12
"""Number of batches rendered ahead of training."""
PREDICTED = 64
HEAD_EPOCHS = 20
Change = Callable[[Image.Image], Image.Image]
Batch = tuple[list[str], NDArray[np.int64], list[tuple[int, int]], int]
"""Paths, targets, for each view its random seed and its symmetry, 0 (none) to 7, and the views' size in pixels."""


@dataclass(frozen=True)
class Pictures:
    """Decoded images by path; `by_split`: rows of train, validation and test, with the column "target"."""

    by_path: dict[str, Image.Image]
    by_split: dict[str, pd.DataFrame]

    def fitted(self, split: str, size: int, change: Change = lambda image: image) -> NDArray[np.uint8]:
        """Model inputs of this size for a split's images."""
        return np.stack([images.center_square_resize(change(self.by_path[path]), size) for path in self.by_split[split]["path"]])

    def targets(self, split: str) -> NDArray[np.int64]:
        return self.by_split[split]["target"].to_numpy()


@dataclass(frozen=True)
class Trained:
    """The network after its last step; `averages`: averaged weights to evaluate instead: moving (EMA) and over the last third (SWA)."""

    network: Any
    averages: dict[str, list[NDArray[np.float32]]]
    seconds: float

    def with_average(self, name: str) -> Any:
        """The network with these weights."""
        for variable, value in zip(self.network.trainable_variables, self.averages[name], strict=True):
            variable.assign(value)
        return self.network


@dataclass(frozen=True)
class TrainingRun:
    """One training of a variant: its name in the progress bar, the variant, and the seed."""

    name: str
    variant: Variant
    seed: int

    @property
    def teacher(self) -> "TrainingRun":
        """The training of the teacher, which learns without one."""
        return TrainingRun(f"{self.name}, teacher", replace(self.variant, teacher=0.0), self.seed)


@dataclass(frozen=True)
class Networks:
    """The network to train, its base, and the teacher whose predictions it also learns, or None."""

    network: Any
    base: Any
    teacher: Any


def train(name: str, variant: Variant, seed: int, settings: Settings, pictures: Pictures) -> Trained:
    """Fit a linear head on the frozen features, then fine-tune; a variant with a teacher trains the teacher first."""
    params = settings.augment if variant.augment is None else settings.augment.model_copy(update=variant.augment)
    prepare = PREPARATIONS[variant.preparation]
    prepared = replace(pictures, by_path={path: prepare(image) for path, image in pictures.by_path.items()})
    pool = multiprocessing.get_context("fork").Pool(len(os.sched_getaffinity(0)), _keep, (prepared.by_path, params))
    with pool:  # before TensorFlow starts threads, which a fork would lose
        return _trained(TrainingRun(name, variant, seed), settings, prepared, pool)


def _trained(run: TrainingRun, settings: Settings, pictures: Pictures, pool: Any) -> Trained:

    variant, seed = run.variant, run.seed
    teacher = _trained(run.teacher, settings, pictures, pool).network if variant.teacher else None
    seed_generators(seed)
    network, base = build(variant, settings, pictures)
    unfreeze(base, variant.unfreeze_from)
    batches = plan(pictures.by_split["train"], variant, seed)
    steps_per_epoch = len(batches) // variant.epochs
    step = stepper(Networks(network, base, teacher), variant, pictures.targets("train"), len(batches))
    moving = [value.numpy() for value in network.trainable_variables]
    late, count, momentum, every = [np.zeros_like(value) for value in moving], 0, 0.998, 4
    start = time.perf_counter()
    with tqdm(total=len(batches), desc=f"{run.name}, seed {seed}", unit="batch", mininterval=5) as bar:
        for number, (pixels, target) in enumerate(_rendered(batches, pool), start=1):
            step(pixels, target)
            bar.update()
            if number % every == 0:
                kept = min(momentum**every, number / (number + 10 * every))
                for average, variable in zip(moving, network.trainable_variables, strict=True):
                    average += (1 - kept) * (variable.numpy() - average)
            if number % steps_per_epoch == 0 and number > 2 * len(batches) // 3:
                count += 1
                for total, variable in zip(late, network.trainable_variables, strict=True):
                    total += variable.numpy()
    seconds = time.perf_counter() - start
    return Trained(network, {"EMA": moving, "SWA": [total / max(1, count) for total in late]}, seconds)


def build(variant: Variant, settings: Settings, pictures: Pictures) -> tuple[Any, Any]:
    """The classifier up to its logits, for images of any size, and its base."""
    import keras

    backbone = settings.base.model_copy(update={"image_size": variant.side})
    base = build_base(backbone)
    if variant.first_side:
        base = progressive_resizing.with_dynamic_input_size(base)
        base.trainable = False
    pixels = keras.Input((None, None, 3) if variant.first_side else (variant.side, variant.side, 3))
    maps = base(keras.layers.Rescaling(1 / 127.5, offset=-1)(pixels), training=False)
    if variant.pooling == "generalised":
        mean_cube = keras.layers.GlobalAveragePooling2D()(keras.ops.maximum(maps, 1e-3) ** 3)
        features = mean_cube ** (1 / 3)
    else:
        features = keras.layers.GlobalAveragePooling2D()(maps)
    extractor = keras.Model(pixels, features)
    params = settings.train.model_copy(update={"hidden_units": variant.hidden, "dropout": variant.dropout})
    head = classifier.build_head(features.shape[-1], params, len(CLASSES))
    fitted, target = predict(extractor, pictures.fitted("train", variant.side)), pictures.targets("train")
    if variant.hidden:
        fit_hidden(head, fitted, target)
    else:
        head.get_layer("logits").set_weights(_linear(fitted, target))
    return keras.Model(pixels, head(features)), base


def fit_hidden(head: Any, features: NDArray[np.float32], target: NDArray[np.int64]) -> None:
    """Train a head with hidden layers on the features, with class weights."""
    import keras

    head.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    weight = class_weights("weights", np.bincount(target, minlength=len(CLASSES)))[target]
    head.fit(features, target, sample_weight=weight, batch_size=128, epochs=HEAD_EPOCHS, verbose=0)


def plan(rows: pd.DataFrame, variant: Variant, seed: int) -> list[Batch]:
    """The batches of all epochs."""
    random = np.random.default_rng(seed)
    target, paths = rows["target"].to_numpy(), rows["path"].to_numpy(dtype=str)
    batches: list[Batch] = []
    for epoch in range(variant.epochs):
        order = random.permutation(len(rows))
        if variant.balance == "sampling":
            each = -(-len(rows) // len(CLASSES))
            order = np.concatenate([random.choice(np.flatnonzero(target == number), each) for number in range(len(CLASSES))])
            random.shuffle(order)
        side = variant.first_side if variant.first_side and epoch < variant.epochs // 2 else variant.side
        for at in range(0, len(order), variant.batch_size):
            views = order[at : at + variant.batch_size]
            drawn = random.integers(2**62, size=len(views)).tolist()
            if kept := variant.kept_views:
                seeds = [(int(image) * kept + (int(image) + epoch) % kept, number % 8) for image, number in zip(views, drawn, strict=True)]
            else:
                seeds = [(number, 0) for number in drawn]
            batches.append((list(paths[views]), target[views], seeds, side))
    return batches


_pictures: dict[str, Image.Image]
_params: Augment


def _keep(pictures: dict[str, Image.Image], params: Augment) -> None:
    global _pictures, _params
    _pictures, _params = pictures, params


def _render(paths: list[str], seeds: list[tuple[int, int]], side: int) -> NDArray[np.uint8]:
    requests = zip(paths, seeds, strict=True)
    views = ((transforms.render(_pictures[path], side, _params, np.random.default_rng(seed)), turn) for path, (seed, turn) in requests)
    return np.stack([np.rot90(view, turn)[:, :: -1 if turn >= 4 else 1] for view, turn in views])


def _rendered(batches: list[Batch], pool: Any) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    waiting: deque[tuple[Any, NDArray[np.int64]]] = deque()
    for paths, target, seeds, side in batches:
        waiting.append((pool.apply_async(_render, (paths, seeds, side)), target))
        if len(waiting) > AHEAD:
            views, oldest = waiting.popleft()
            yield views.get(), oldest
    for views, oldest in waiting:
        yield views.get(), oldest


def stepper(networks: Networks, variant: Variant, targets: NDArray[np.int64], steps: int) -> Callable[[Any, Any], None]:
    """Return a function that runs one training step on a batch of uint8 views and their targets."""
    import keras
    import tensorflow as tf

    network, teacher = networks.network, networks.teacher
    counts = np.bincount(targets, minlength=len(CLASSES))
    weight = tf.constant(class_weights(variant.balance, counts), tf.float32)
    prior = tf.constant(np.log(counts / len(targets)) if variant.balance == "logits" else np.zeros(len(CLASSES)), tf.float32)
    optimizers = _optimizers(network, networks.base, variant, steps)
    mixing = [keras.layers.MixUp(variant.mixup)] if variant.mixup else []
    mixing += [keras.layers.CutMix(variant.cutmix)] if variant.cutmix else []
    randaugment = keras.layers.RandAugment((0, 255), factor=variant.randaugment) if variant.randaugment else None

    @tf.function(reduce_retracing=True)
    def step(pixels: Any, target: Any) -> None:
        pixels, probabilities = tf.cast(pixels, tf.float32), tf.one_hot(target, len(CLASSES))
        if randaugment:
            pixels = randaugment(pixels, training=True)
        for layer in mixing:
            mixed = layer({"images": pixels, "labels": probabilities}, training=True)
            pixels, probabilities = mixed["images"], mixed["labels"]
        weights = tf.reduce_sum(probabilities * weight, axis=-1)
        probabilities = probabilities * (1 - variant.label_smoothing) + variant.label_smoothing / len(CLASSES)
        if teacher is not None:
            probabilities = (1 - variant.teacher) * probabilities + variant.teacher * tf.nn.softmax(teacher(pixels, training=False))
        with tf.GradientTape() as tape:
            log_probabilities = tf.nn.log_softmax(network(pixels, training=True) + prior)
            if variant.focal:  # with power 0 the gradient would be NaN at probability 1
                log_probabilities *= (1 - tf.exp(log_probabilities)) ** variant.focal
            losses = -tf.reduce_sum(probabilities * log_probabilities, axis=-1)
            loss = tf.reduce_mean(losses * weights)
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, network.trainable_variables), 1.0)
        gradient_of = {variable.path: gradient for variable, gradient in zip(network.trainable_variables, gradients, strict=True)}
        for optimizer, variables in optimizers:
            optimizer.apply([gradient_of[variable.path] for variable in variables], variables)

    return step


def _optimizers(network: Any, base: Any, variant: Variant, steps: int) -> list[tuple[Any, list[Any]]]:
    """AdamW for all trainable weights or, with `depth_decay`, one per block with a learning rate that decreases with depth."""
    import keras

    groups: dict[int, list[Any]] = {}
    blocks = list(dict.fromkeys("_".join(layer.name.split("_")[:2]) for layer in base.layers))
    deepest = {variable.path: blocks.index("_".join(layer.name.split("_")[:2])) for layer in base.layers for variable in layer.variables}
    for variable in network.trainable_variables:
        below = len(blocks) - deepest.get(variable.path, len(blocks))
        groups.setdefault(below if variant.depth_decay < 1 else 0, []).append(variable)
    made = []
    for below, variables in groups.items():
        rate, warm = variant.learning_rate * variant.depth_decay**below, max(1, steps // variant.epochs)
        schedule: Any = keras.optimizers.schedules.CosineDecay(0.0, max(1, steps - warm), warmup_target=rate, warmup_steps=warm)
        optimizer = keras.optimizers.AdamW(rate if variant.schedule == "constant" else schedule, weight_decay=1e-4)
        optimizer.build(variables)
        made.append((optimizer, variables))
    return made


def _linear(features: NDArray[np.float32], target: NDArray[np.int64]) -> list[NDArray[np.float64]]:
    """Kernel and bias of a balanced logistic regression on the features, the starting point of fine-tuning."""
    scaler, head = (step for _, step in leave_one_collection_out.linear_head(features, target).steps)
    kernel = (head.coef_ / scaler.scale_).T
    return [kernel, head.intercept_ - scaler.mean_ @ kernel]


def predict(network: Any, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Outputs of the network for pixels (n, size, size, 3): float32 (n, outputs)."""
    import tensorflow as tf

    graph = tf.function(lambda batch: network(tf.cast(batch, tf.float32), training=False), reduce_retracing=True)
    return np.concatenate([graph(pixels[at : at + PREDICTED]).numpy() for at in range(0, len(pixels), PREDICTED)])
