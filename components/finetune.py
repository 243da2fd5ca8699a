"""Fine-tuning: unfreeze the upper blocks of the frozen-phase model and train on at a low rate.

Reads build/shards/ and build/frozen/. Writes build/finetuned/model.keras, reports/curves/finetune.csv and
reports/finetune.json, and one MLflow run. Stopped, it goes on from its last whole epoch.
"""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.core import architectures
from components.core.files import replacing, sha256, write_json
from components.core.paths import CHECKPOINT, CURVES, FINETUNED, FROZEN, MAPS, MODEL, REPORTS
from components.imaging import tfrecords
from components.modeling import backbone, classifier, serialization
from components.modeling.determinism import seed_everything
from components.runtime.params import Finetune, Settings
from components.runtime.params_file import load
from components.runtime.stage import run
from components.tracking import runs
from components.training import feature_cache, input_pipeline, loop, progressive_resizing, setup
from components.training.checkpoint import Checkpoint

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

REPORT = REPORTS / "finetune.json"
CODE = (backbone, classifier, tfrecords, feature_cache, input_pipeline, loop, progressive_resizing, setup)
"""What decides, with this file, how training goes on: a checkpoint of other code is not continued."""


def finetune(settings: Settings) -> None:
    """Run the stage.

    Raises:
        LesionflowError: there is no block to unfreeze from by that name, the disk has no room for the kept maps, or MLflow
            does not answer.
    """
    knobs, task = settings.finetune, settings.task
    seed_everything(settings.seed)
    counts = {side: tfrecords.counts(side) for side in feature_cache.SIDES}
    views = sum(counts["train"].values())
    with setup.strategy().scope():
        network = serialization.read(FROZEN / MODEL)
        start = architectures.unfreeze_from(settings.base.architecture, knobs.unfreeze_from)
        unfrozen = backbone.unfreeze(backbone.base_of(network), start)
        cut = feature_cache.cut(backbone.base_of(network)) if views_repeat(knobs) else None
        trained = trained_part(network, knobs, cut)
        setup.compile_for(task, trained, optimizer(knobs, -(-views // knobs.batch_size)))
    print(f"training {len(unfrozen)} layers of the base, from {unfrozen[0] if unfrozen else 'none'} up")
    tags = {"frozen.sha256": serialization.fingerprint(FROZEN / MODEL), "backbone.sha256": backbone.weights_identity(settings.base)}
    code = [sha256(Path(file)) for file in (__file__, *(str(module.__file__) for module in CODE))]
    params = settings.logged("finetuned")
    identity = json.dumps({"params": params, "tags": tags, "views": counts, "code": code}, sort_keys=True)
    checkpoint, full_from = Checkpoint(CHECKPOINT, identity), progressive_resizing.small_epochs(knobs)
    with runs.start_phase("finetuned", params, tags) as mlflow_run:
        kept = None if cut is None else feature_cache.keep(feature_cache.below(network, cut), MAPS, identity)
        batches = Batches(settings, counts, kept)
        history = loop.fit(
            trained, batches.train, batches.validation(), knobs.epochs, knobs.patience, mlflow_run.epoch, checkpoint, full_from
        )
        backbone.base_of(network).trainable = False
        with replacing(FINETUNED) as draft:
            draft.mkdir()
            serialization.save(network, draft / MODEL)
        loop.write_curves(history, CURVES / "finetune.csv")
        best = loop.best_epoch(history, full_from)
        report = {"epochs": len(history), "views": views, "unfrozen_layers": len(unfrozen), "kept_maps": kept.size if kept else 0}
        write_json(REPORT, {**report, "best": best})
        mlflow_run.finish(serialization.fingerprint(FINETUNED / MODEL), {f"best.{name}": value for name, value in best.items()})
    checkpoint.clear()
    shutil.rmtree(MAPS, ignore_errors=True)


def views_repeat(knobs: Finetune) -> bool:
    """Whether every epoch shows the same pictures, so that what frozen blocks make of them can be kept."""
    return not knobs.symmetries and not progressive_resizing.small_epochs(knobs)


def trained_part(network: "keras.Model", knobs: Finetune, cut: int | None) -> "keras.Model":
    """What is fitted, down to logits: the network, or what of it lies above the kept maps; layers are shared."""
    if cut is not None:
        return feature_cache.above(network, cut)
    logits = classifier.logits_of(network)
    return progressive_resizing.of_any_size(logits) if progressive_resizing.small_epochs(knobs) else logits


def optimizer(knobs: Finetune, steps_per_epoch: int) -> "keras.optimizers.Optimizer":
    """AdamW (Loshchilov and Hutter 2019) at a rate that falls over all epochs."""
    import keras

    rate = setup.falling_rate(knobs.learning_rate, steps_per_epoch * knobs.epochs, round(steps_per_epoch * knobs.warmup_epochs))
    return keras.optimizers.AdamW(rate, weight_decay=knobs.weight_decay)


class Batches:
    """What an epoch trains on and is validated on: pictures, or the maps that were kept of them."""

    def __init__(self, settings: Settings, counts: dict[str, dict[str, int]], kept: feature_cache.KeptMaps | None) -> None:
        self._settings, self._counts, self._kept = settings, counts, kept

    def train(self, epoch: int) -> "tf.data.Dataset":
        """Batches of an epoch, which hang on its number alone."""
        knobs, task, seed = self._settings.finetune, self._settings.task, epoch_seed(self._settings.seed, epoch)
        weights = setup.class_weights(self._counts["train"], task, knobs.class_weights)
        if self._kept:
            return self._kept.batches("train", task, knobs.batch_size, weights, seed)
        small = epoch < progressive_resizing.small_epochs(knobs)
        return input_pipeline.batches(
            "train",
            task,
            knobs.batch_size,
            weights,
            shuffle_seed=seed,
            turn_seed=seed if knobs.symmetries else None,
            reduced_to=progressive_resizing.small_size(knobs, self._settings.base.image_size) if small else None,
        )

    def validation(self) -> "tf.data.Dataset":
        """Every validation view, in full size, with weights that even out the classes."""
        read = self._kept.batches if self._kept else input_pipeline.batches
        weights = setup.class_weights(self._counts["validation"], self._settings.task)
        return read("validation", self._settings.task, self._settings.finetune.batch_size, weights)


def epoch_seed(seed: int, epoch: int) -> int:
    """Seed of an epoch's order, apart for every pair of seed and epoch."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


if __name__ == "__main__":
    run(lambda: finetune(load()), __doc__, tensorflow=True)
