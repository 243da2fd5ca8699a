"""How near embedding and fine-tuning come to what the machine can do: each against the bare computation, in one run.

Run `dvc repro` first, then this from the project's root: it takes the images and the models of build/.
"""

import argparse
import time
from collections.abc import Callable
from itertools import islice
from typing import Any, TypeVar

import machine
import numpy as np

from components import fitting, model, pooling, records
from components.classes import CLASSES
from components.paths import FROZEN, MODEL
from components.settings import Settings, load
from components.stage import load_tensorflow

ROUNDS = 3
Name = TypeVar("Name")


def main() -> None:
    """Measure, print a table, and write it under benchmarks/results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=384, help="views to go through in each round (default: %(default)s)")
    given = parser.parse_args()
    described, settings = machine.described(), load()
    load_tensorflow()
    there, needed = sum(records.counts("train").values()), given.images * (ROUNDS + 1)
    if there < needed:
        parser.error(f"build/shards holds {there} training views and {needed} are gone through: name fewer --images")
    views = list(records.read("train").take(given.images).as_numpy_iterator())
    pixels = np.stack([view["pixels"] for view in views]).astype(np.float32)
    target = np.array([view["class"] for view in views])
    rates = {**inference(settings, pixels), **training(settings, pixels, target)}
    ratios = {
        "embed / bare predict of the folded base": rates["embed, from shards"] / rates["folded base, predict in memory"],
        "folded base / base as Keras brings it": rates["folded base, predict in memory"] / rates["Keras' base, predict in memory"],
        "fine-tuning / bare steps": rates["fine-tuning, from shards"] / rates["fine-tuning, bare steps in memory"],
        "bfloat16 / float32 of the folded base": rates["folded base, bfloat16"] / rates["folded base, predict in memory"],
    }
    cut = settings.finetune.unfreeze_from
    print(f"{settings.backbone} backbone, fine-tuned from {cut}; medians of {ROUNDS} rounds of {len(pixels)} views on {described}\n")
    print("\n".join(f"{name:<44} {rate:8.1f} views/s" for name, rate in rates.items()))
    print("\n" + "\n".join(f"{name:<44} {ratio:8.2f}" for name, ratio in ratios.items()))
    document = {
        "machine": described,
        "backbone": settings.base.model_dump(exclude={"weights"}),
        "unfreeze_from": cut,
        "views_per_second": rates,
    }
    print(f"written to {machine.write('rates', {**document, 'ratios': ratios})}")


def in_turn(measured: dict[Name, Callable[[], int]], rounds: int = ROUNDS) -> dict[Name, float]:
    """Median rate of each, in views per second: each is run once unmeasured, then all in turn, so that drift hits all alike."""
    taken: dict[Name, list[float]] = {name: [] for name in measured}
    for attempt in range(rounds + 1):
        for name, run in measured.items():
            start = time.perf_counter()
            count = run()
            if attempt:
                taken[name].append(count / (time.perf_counter() - start))
    return {name: float(np.median(found)) for name, found in taken.items()}


def inference(settings: Settings, pixels: np.ndarray) -> dict[str, float]:
    """Rates of the frozen base."""
    import keras

    size, batch_size = settings.base.image_size, settings.embed.batch_size
    folded = model.build_extractor(settings.base)
    width = {"alpha": settings.base.alpha} if settings.base.architecture == "MobileNetV2" else {}
    architecture: Callable[..., Any] = getattr(keras.applications, settings.base.architecture)
    bare = architecture(include_top=False, weights=None, input_shape=(size, size, 3), pooling="avg", **width)
    keras.config.set_dtype_policy("mixed_bfloat16")
    half = model.build_extractor(settings.base)
    keras.config.set_dtype_policy("float32")
    embedded = pooling.pooled_batches(folded, "train", batch_size)

    def from_shards() -> int:
        batches = list(islice(embedded, -(-len(pixels) // batch_size)))
        return sum(len(pooled) for _, pooled in batches)

    def predicting(network: Any) -> Callable[[], int]:
        return lambda: len(network.predict(pixels, batch_size=batch_size, verbose=0))

    return in_turn(
        {
            "embed, from shards": from_shards,
            "folded base, predict in memory": predicting(folded),
            "folded base, bfloat16": predicting(half),
            "Keras' base, predict in memory": predicting(bare),
        }
    )


def training(settings: Settings, pixels: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """Rates of fine-tuning: as the stage does it, and as bare steps on batches that lie in memory."""
    import keras
    import tensorflow as tf

    knobs = settings.finetune
    classifier = model.read(FROZEN / MODEL)
    model.unfreeze(model.base_of(classifier), knobs.unfreeze_from)
    network = model.logits_of(classifier)
    fitting.compile_for("multiclass", network, keras.optimizers.AdamW(1e-6))
    network.optimizer.build(network.trainable_variables)
    weights = dict.fromkeys(range(len(CLASSES)), 1.0)
    steps = len(pixels) // knobs.batch_size
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    cut = [slice(at * knobs.batch_size, (at + 1) * knobs.batch_size) for at in range(steps)]
    batches = [(tf.constant(pixels[part]), tf.constant(target[part])) for part in cut]

    @tf.function
    def step(images: Any, classes: Any) -> None:
        with tf.GradientTape() as tape:
            loss = loss_of(classes, network(images, training=True))
        network.optimizer.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)

    def bare() -> int:
        for images, classes in batches:
            step(images, classes)
        return steps * knobs.batch_size

    turn_seed = 0 if knobs.symmetries else None

    def fitted() -> int:
        views = records.batches("train", "multiclass", knobs.batch_size, weights, shuffle_seed=0, turn_seed=turn_seed).take(steps)
        network.fit(views, verbose=0, shuffle=False)
        return steps * knobs.batch_size

    return in_turn({"fine-tuning, from shards": fitted, "fine-tuning, bare steps in memory": bare})


if __name__ == "__main__":
    main()
