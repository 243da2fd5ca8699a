"""Measure the throughput of embedding and fine-tuning relative to bare computation.

Run `dvc repro` first, then this command from the project's root: it uses the images and the models in build/. Rates are measured in
steady state, batch by batch; the startup time of a fine-tuning epoch is measured separately.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.harness import machine, profiling, tables
from benchmarks.harness.labels import CLASSES
from benchmarks.harness.timing import Rates, interleaved_rounds, median_ratio, medians, timed
from components.core import architectures
from components.core.paths import FROZEN, MODEL_FILENAME
from components.imaging import tfrecords
from components.modeling import backbone, features, serialization
from components.modeling.determinism import seed_everything
from components.runtime.params import Settings
from components.runtime.params_file import load
from components.runtime.tensorflow import load_tensorflow
from components.training import input_pipeline, progressive_resizing, setup
from components.training.finetuning import trainable_model

NAME = "rates"
WARM = 4
"""Warmup batches before the measurement: they use up the batches that were decoded during another measurement."""
EMBED, FOLDED, AS_KERAS = "embed, from shards", "folded base, predict in memory", "Keras' base, predict in memory"
FITTED, BARE, STARTING = "fine-tuning, from shards", "fine-tuning, bare steps in memory", "seconds until an epoch's first step ends"
OF_EMBED, OF_FITTED = "embed / bare predict of the folded base", "fine-tuning / bare steps"
TARGETS = {OF_EMBED: tables.Target(0.9), f"{OF_FITTED}, all epochs": tables.Target(0.9)}


def main() -> None:
    """Measure, print tables, and write them under benchmarks/results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=512, metavar="N", help="views timed in each round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--profile", action="store_true", help="profile the fine-tuning step by kind of operation")
    given = parser.parse_args()
    described, settings = machine.describe(), load()
    load_tensorflow()
    seed_everything(settings.seed)  # enables deterministic TensorFlow kernels, as in the stages
    available = tfrecords.view_count("train")
    needed = given.images + (WARM + 1) * max(settings.embed.batch_size, settings.finetune.batch_size)
    if available < needed:
        parser.error(f"build/shards contains only {available} training views, but {needed} are needed. Reduce --images.")
    views = list(tfrecords.read_views("train").take(given.images).as_numpy_iterator())
    pixels = np.stack([view["pixels"] for view in views]).astype(np.float32)
    rates = interleaved_rounds(inference(settings, pixels), given.rounds)
    tuning = [FineTuning(settings, pixels, np.array([view["class"] for view in views]), side) for side in epochs(settings)]
    rates |= interleaved_rounds(
        {f"{name}, {one.side} px": run for one in tuning for name, run in ((FITTED, one.fitted), (BARE, one.bare))}, given.rounds
    )
    document = {
        "machine": described,
        "backbone": settings.base.model_dump(exclude={"weights"}),
        "unfreeze_from": architectures.unfreeze_from(settings.base.architecture, settings.finetune.unfreeze_from),
        "rounds": given.rounds,
        "views": given.images,
        "views_per_second": medians(rates),
        "epoch_starts_seconds": {f"{one.side} px": float(np.median(one.starts[1:])) for one in tuning},
        "ratios": ratios(rates, epochs(settings)),
        "profile": profiling.by_kind(tuning[0].fitted) if given.profile else [],
    }
    path = machine.write(NAME, document)
    print(f"{report(document)}\n\nwritten to {path}")


def epochs(settings: Settings) -> dict[int, int]:
    """Number of fine-tuning epochs for each image size in pixels, full size first."""
    full, few = settings.base.image_size, progressive_resizing.low_resolution_epochs(settings.finetune)
    reduced = progressive_resizing.low_resolution_size(settings.finetune, full)
    return {full: settings.finetune.epochs - few, reduced: few} if few and reduced != full else {full: settings.finetune.epochs}


def over_epochs(rate: dict[str, float], epochs: dict[int, int]) -> float:
    """Efficiency of fine-tuning as a whole: seconds of bare steps divided by its seconds."""
    bare, fitted = (sum(count / rate[f"{name}, {side} px"] for side, count in epochs.items()) for name in (BARE, FITTED))
    return bare / fitted


def ratios(found: Rates, epochs: dict[int, int]) -> dict[str, float]:
    """Efficiency of each part: median over rounds of the ratios paired by round."""
    return {
        OF_EMBED: median_ratio(found, EMBED, FOLDED),
        "embed / bare predict of Keras' base": median_ratio(found, EMBED, AS_KERAS),
        "folded base / base as Keras brings it": median_ratio(found, FOLDED, AS_KERAS),
        **{f"{OF_FITTED}, {side} px": median_ratio(found, f"{FITTED}, {side} px", f"{BARE}, {side} px") for side in epochs},
        f"{OF_FITTED}, all epochs": over_epochs(medians(found), epochs),
    }


class Stopwatch:
    """Keras callback that records the end of each batch of `fit` or `predict`, in seconds of `time.perf_counter`."""

    def __init__(self) -> None:
        import keras

        self.ends: list[float] = []

        def ended(*_: object, **_named: object) -> None:
            self.ends.append(time.perf_counter())

        self.callback = keras.callbacks.LambdaCallback()
        self.callback.on_train_batch_end = self.callback.on_predict_batch_end = ended

    def rate(self, batch_size: int, warm: int = WARM) -> float:
        """Views per second after the warmup batches."""
        ends = self.ends[min(warm, len(self.ends) - 2) :]
        return (len(ends) - 1) * batch_size / (ends[-1] - ends[0])


def inference(settings: Settings, pixels: np.ndarray) -> dict[str, Callable[[], float]]:
    """Measurements of the frozen base: as in the stage, and on images in memory."""
    import keras

    size, batch_size = settings.base.image_size, settings.embed.batch_size
    folded = backbone.build_extractor(settings.base)
    width = {"alpha": settings.base.alpha} if settings.base.architecture == "MobileNetV2" else {}
    architecture: Callable[..., Any] = getattr(keras.applications, settings.base.architecture)
    bare = architecture(include_top=False, weights=None, input_shape=(size, size, 3), pooling="avg", **width)
    whole = len(pixels) // batch_size * batch_size or len(pixels)

    def from_shards() -> float:
        ends: list[float] = []
        for _, _ in features.pooled_batches(folded, "train", batch_size):
            ends.append(time.perf_counter())
            if len(ends) > WARM + whole // batch_size:
                break
        return (len(ends) - 1 - WARM) * batch_size / (ends[-1] - ends[WARM])

    def predicting(network: Any) -> Callable[[], float]:
        def measured() -> float:
            watch = Stopwatch()
            network.predict(pixels[:whole], batch_size=batch_size, verbose=0, callbacks=[watch.callback])
            return watch.rate(batch_size, warm=1)

        return measured

    return {EMBED: from_shards, FOLDED: predicting(folded), AS_KERAS: predicting(bare)}


class FineTuning:
    """Model for fine-tuning on images of size `side`. `fitted`: views per second as in the stage without feature cache; `bare`: in steps
    on batches in memory; `starts`: seconds from the start of each epoch to the end of its first step."""

    def __init__(self, settings: Settings, pixels: np.ndarray, target: np.ndarray, side: int) -> None:
        import keras
        import tensorflow as tf

        self.side, self._params = side, settings.finetune
        self._reduced_to = None if side == settings.base.image_size else side
        classifier = serialization.load_classifier(FROZEN / MODEL_FILENAME)
        backbone.unfreeze(
            backbone.get_base(classifier), architectures.unfreeze_from(settings.base.architecture, self._params.unfreeze_from)
        )
        self._network = network = trainable_model(classifier, self._params, cut=None)
        setup.compile_classifier(network, keras.optimizers.AdamW(1e-6))
        network.optimizer.build(network.trainable_variables)
        size = self._params.batch_size
        parts = [slice(start, start + size) for start in range(0, len(pixels) - size + 1, size)]
        self._batches = [(tf.image.resize(pixels[part], (side, side), method="area"), tf.constant(target[part])) for part in parts]
        loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.starts: list[float] = []

        @tf.function
        def step(images: Any, classes: Any) -> None:
            with tf.GradientTape() as tape:
                loss = loss_of(classes, network(images, training=True))
            network.optimizer.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)

        self._step = step

    def fitted(self) -> float:
        """Batches in the stage's own order, through `fit`."""
        weights, number = dict.fromkeys(range(len(CLASSES)), 1.0), len(self.starts)
        views = input_pipeline.training_batches(
            "train",
            input_pipeline.BatchOptions(
                self._params.batch_size,
                weights,
                symmetry_seed=number if self._params.random_dihedral else None,
                resize_to=self._reduced_to,
            ),
            shuffle_seed=number,
        )
        watch, start = Stopwatch(), time.perf_counter()
        self._network.fit(views.take(WARM + 1 + len(self._batches)), verbose=0, shuffle=False, callbacks=[watch.callback])
        self.starts.append(watch.ends[0] - start)
        return watch.rate(self._params.batch_size)

    def bare(self) -> float:
        """Only the training step."""
        self._step(*self._batches[0])
        return timed(self._steps)()

    def _steps(self) -> int:
        for batch in self._batches:
            self._step(*batch)
        return len(self._batches) * self._params.batch_size


def report(document: dict[str, Any]) -> str:
    """The results as tables."""
    base = document["backbone"]
    parts = [
        f"{base['architecture']} {base['alpha']} at {base['image_size']} px, fine-tuned from {document['unfreeze_from']}; medians of"
        f" {document['rounds']} rounds of {document['views']} views on {document['machine']}",
        tables.table(["views a second", ""], [[name, f"{rate:.1f}"] for name, rate in document["views_per_second"].items()]),
        tables.table(
            ["ratio", "", "target", ""],
            [[name, *tables.target_cells(TARGETS.get(name), [ratio], 2)] for name, ratio in document["ratios"].items()],
        ),
        f"{STARTING}: {', '.join(f'{seconds:.1f} at {side}' for side, seconds in document['epoch_starts_seconds'].items())}",
    ]
    if document["profile"]:
        rows = [[row["kind"], f"{row['share']:.1%}", f"{row['seconds']:.2f}", str(row["operations"])] for row in document["profile"]]
        parts.append(tables.table(["fine-tuning, kind of operation", "share", "seconds", "operations"], rows))
    return "\n\n".join(parts)


if __name__ == "__main__":
    main()
