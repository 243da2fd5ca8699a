"""Measure TensorFlow settings, number formats and batch sizes on this machine, for the frozen base and for a training step.

Run `dvc repro` first, then this command from the project's root: it uses the images and the frozen model in build/. Each setting runs
in its own process, since most are read when TensorFlow starts; rounds are interleaved, so that drift affects all settings equally. A
gain counts as significant if the setting was faster than the default in every round, by more than the spread of the default's rounds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.harness import machine, tables
from benchmarks.harness.timing import Rates, median_ratio, medians
from components.modeling.determinism import seed_generators

if TYPE_CHECKING:
    from components.runtime.params import Settings

NAME = "computing"
DEFAULT = "default"
WORK = ("forward", "training step")
WARM = 2


@dataclass(frozen=True)
class Setting:
    """Differences from the default: environment variables for TensorFlow, threads (intra, inter; 0: number of cores), and so on."""

    environment: Mapping[str, str] = field(default_factory=dict)
    threads: tuple[int, int] = (0, 0)
    policy: str = "float32"
    deterministic: bool = True
    batch_size: int = 0
    """0: batch size of params.yaml."""


SETTINGS = {
    DEFAULT: Setting(),
    "threads 1 intra, 1 inter": Setting(threads=(1, 1)),
    "threads 1 intra, 2 inter": Setting(threads=(1, 2)),
    "threads 2 intra, 1 inter": Setting(threads=(2, 1)),
    "threads 2 intra, 2 inter": Setting(threads=(2, 2)),
    "oneDNN off": Setting({"TF_ENABLE_ONEDNN_OPTS": "0"}),
    "oneDNN on": Setting({"TF_ENABLE_ONEDNN_OPTS": "1"}),
    "BFC allocator off": Setting({"TF_CPU_ALLOCATOR_USE_BFC": "0"}),
    "BFC allocator on": Setting({"TF_CPU_ALLOCATOR_USE_BFC": "1"}),
    "mixed_bfloat16": Setting(policy="mixed_bfloat16"),
    "kernels not deterministic": Setting(deterministic=False),
    "batches of 16": Setting(batch_size=16),
    "batches of 32": Setting(batch_size=32),
    "batches of 64": Setting(batch_size=64),
    "batches of 128": Setting(batch_size=128),
}
QUICK = (DEFAULT, "threads 1 intra, 1 inter", "oneDNN off", "BFC allocator off", "mixed_bfloat16", "batches of 16")


def main() -> None:
    """Measure, print a table, and write it under benchmarks/results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256, metavar="N", help="views timed in each round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help=f"only: {', '.join(QUICK)}")
    parser.add_argument("--alone", choices=SETTINGS, help="measure one setting once, in this process, and print its rates as JSON")
    given = parser.parse_args()
    if given.alone:
        print(json.dumps(measure(SETTINGS[given.alone], given.images)))
        return
    described, names = machine.describe(), QUICK if given.quick else tuple(SETTINGS)
    found: dict[str, Rates] = {work: {name: [] for name in names} for work in WORK}
    for number in range(given.rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            for work, rate in run_in_subprocess(name, given.images).items():
                found[work][name].append(rate)
    document = {"machine": described, "images": given.images, "rounds": given.rounds, "views_per_second": found}
    path = machine.write(NAME, document)
    print(f"{report(document)}\n\nwritten to {path}")


def run_in_subprocess(name: str, images: int) -> dict[str, float]:
    """Rates of a setting, measured in its own process.

    Raises:
        SystemExit: the process failed; it has printed its error.
    """
    command = [sys.executable, "-m", "benchmarks.computing", "--alone", name, "--images", str(images)]
    done = subprocess.run(command, env={**os.environ, **SETTINGS[name].environment}, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"error: {name} could not be measured")
    rates: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"{name}: " + ", ".join(f"{work} {rate:.1f} views/s" for work, rate in rates.items()), flush=True)
    return rates


def measure(setting: Setting, images: int) -> dict[str, float]:
    """Views per second of the base's forward pass and of a training step, on views in memory."""
    from components.runtime.tensorflow import load_tensorflow

    load_tensorflow()
    import numpy as np
    import tensorflow as tf

    from components.imaging import tfrecords
    from components.modeling import backbone
    from components.runtime.params_file import load

    settings = load()
    configure(setting, settings.seed)
    views = next(tfrecords.iter_batches("train", batch_size=images))
    pixels, target = views["pixels"].astype(np.float32), views["class"]
    extractor = backbone.build_extractor(settings.base)
    forward = tf.function(lambda batch: extractor(batch, training=False))
    batch_size = setting.batch_size or settings.embed.batch_size
    forward_rate = rate(forward, [(tf.constant(pixels[part]),) for part in parts(len(pixels), batch_size)])
    step = training_step(extractor, settings)
    batch_size = setting.batch_size or settings.finetune.batch_size
    batches = [(tf.constant(pixels[part]), tf.constant(target[part])) for part in parts(len(pixels), batch_size)]
    return {WORK[0]: forward_rate, WORK[1]: rate(step, batches)}


def configure(setting: Setting, seed: int) -> None:
    """Apply a setting to TensorFlow and Keras, and seed them."""
    import keras
    import tensorflow as tf

    intra, inter = setting.threads
    tf.config.threading.set_intra_op_parallelism_threads(intra)
    tf.config.threading.set_inter_op_parallelism_threads(inter)
    seed_generators(seed)
    if setting.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.config.set_dtype_policy(setting.policy)


def training_step(extractor: Any, settings: "Settings") -> Callable[[Any, Any], None]:
    """Return a function that runs one step of fine-tuning on a batch and its classes; unfreezes the extractor's base."""
    import keras
    import tensorflow as tf

    from benchmarks.harness.labels import CLASSES
    from components.core import architectures
    from components.modeling import backbone

    backbone.unfreeze(extractor.get_layer("base"), architectures.unfreeze_from(settings.base.architecture, settings.finetune.unfreeze_from))
    network = keras.Sequential([extractor, keras.layers.Dense(len(CLASSES), dtype="float32")])
    loss_of, optimizer = keras.losses.SparseCategoricalCrossentropy(from_logits=True), keras.optimizers.AdamW(1e-6)
    optimizer.build(network.trainable_variables)

    @tf.function
    def step(batch: Any, classes: Any) -> None:
        with tf.GradientTape() as tape:
            loss = loss_of(classes, network(batch, training=True))
        optimizer.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)

    return step


def parts(count: int, size: int) -> list[slice]:
    """Full batches of `count` views; one smaller batch if there are too few views."""
    return [slice(start, start + size) for start in range(0, count - size + 1, size)] or [slice(0, count)]


def rate(work: Callable[..., object], batches: list[tuple[Any, ...]]) -> float:
    """Views per second of `work` on these batches, after tracing and warmup."""
    for number in range(WARM):
        work(*batches[number % len(batches)])
    start = time.perf_counter()
    for batch in batches:
        work(*batch)
    return sum(len(batch[0]) for batch in batches) / (time.perf_counter() - start)


def exceeds_noise(found: Rates, name: str) -> bool:
    """Whether a setting was faster than the default in every round, by more than the spread of the default's rounds."""
    default = found[DEFAULT]
    spread = max(default) / min(default)
    return len(default) > 1 and all(one > two * spread for one, two in zip(found[name], default, strict=True))


def report(document: dict[str, Any]) -> str:
    """The results as a table."""
    rates: dict[str, Rates] = document["views_per_second"]
    rows = []
    for name in rates[WORK[0]]:
        cells = [name]
        for found in rates.values():
            cells += [
                f"{medians(found)[name]:.1f}",
                f"{median_ratio(found, name, DEFAULT):.2f}",
                "sure" if exceeds_noise(found, name) else "",
            ]
        rows.append(cells)
    spread = [max(found[DEFAULT]) / min(found[DEFAULT]) - 1 for found in rates.values()]
    head = ["setting", *(cell for work in rates for cell in (f"{work}, views/s", "ratio", "gain"))]
    rounds = f"Medians of {document['rounds']} rounds of {document['images']} views, each setting in its own process"
    noise = f"spread of the default's rounds: {statistics.mean(spread):.0%}"
    return f"{rounds}, on {document['machine']}; {noise}.\n\n{tables.table(head, rows)}"


if __name__ == "__main__":
    main()
