"""Fine-tune: unfreeze the upper blocks of the frozen-phase model and continue training at a low learning rate.

Reads build/shards/ and build/frozen/. Writes build/finetuned/model.keras, reports/curves/finetune.csv and
reports/finetune.json, and one MLflow run. If it is interrupted, it resumes after the last complete epoch.
"""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.core import architectures
from components.core.files import atomic_write, sha256, write_json
from components.core.paths import CHECKPOINT, CURVES, FEATURE_CACHE, FINETUNED, FROZEN, MODEL_FILENAME, REPORTS
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
CODE_PACKAGES = (backbone, classifier, tfrecords, feature_cache, input_pipeline, loop, progressive_resizing, setup)
"""Modules that, with this file, determine the result of training; a checkpoint from different code is not resumed."""


def finetune(settings: Settings) -> None:
    """Run the stage.

    Raises:
        LesionflowError: `unfreeze_from` names no block, the disk has no room for the feature cache, or MLflow does not respond.
    """
    params, task = settings.finetune, settings.task
    seed_everything(settings.seed)
    counts = {split: tfrecords.class_counts(split) for split in feature_cache.CACHED_SPLITS}
    views = sum(counts["train"].values())
    with setup.distribution_strategy().scope():
        network = serialization.load_classifier(FROZEN / MODEL_FILENAME)
        start = architectures.unfreeze_from(settings.base.architecture, params.unfreeze_from)
        unfrozen = backbone.unfreeze(backbone.get_base(network), start)
        cut = feature_cache.cut_layer_index(backbone.get_base(network)) if inputs_repeat(params) else None
        trained = trainable_model(network, params, cut)
        setup.compile_classifier(task, trained, optimizer(params, -(-views // params.batch_size)))
    print(f"training {len(unfrozen)} layers of the base, from {unfrozen[0] if unfrozen else 'none'} up")
    tags = {
        "frozen.sha256": serialization.classifier_sha256(FROZEN / MODEL_FILENAME),
        "backbone.sha256": backbone.weights_sha256(settings.base),
    }
    code = [sha256(Path(file)) for file in (__file__, *(str(module.__file__) for module in CODE_PACKAGES))]
    logged = settings.logged("finetuned")
    identity = json.dumps({"params": logged, "tags": tags, "views": counts, "code": code}, sort_keys=True)
    checkpoint, full_from = Checkpoint(CHECKPOINT, identity), progressive_resizing.low_resolution_epochs(params)
    with runs.start_phase_run("finetuned", logged, tags) as mlflow_run:
        kept = None if cut is None else feature_cache.build_feature_cache(feature_cache.frozen_part(network, cut), FEATURE_CACHE, identity)
        batches = EpochDatasets(settings, counts, kept)
        history = loop.train_with_early_stopping(
            trained, batches.train, batches.validation(), params.epochs, params.patience, mlflow_run.epoch, checkpoint, full_from
        )
        backbone.get_base(network).trainable = False
        with atomic_write(FINETUNED) as draft:
            draft.mkdir()
            serialization.save_classifier(network, draft / MODEL_FILENAME)
        loop.write_curves(history, CURVES / "finetune.csv")
        best = loop.best_epoch(history, full_from)
        report = {"epochs": len(history), "views": views, "unfrozen_layers": len(unfrozen), "kept_maps": kept.size if kept else 0}
        write_json(REPORT, {**report, "best": best})
        mlflow_run.finish(
            serialization.classifier_sha256(FINETUNED / MODEL_FILENAME), {f"best.{name}": value for name, value in best.items()}
        )
    checkpoint.clear()
    shutil.rmtree(FEATURE_CACHE, ignore_errors=True)


def inputs_repeat(params: Finetune) -> bool:
    """Whether every epoch has the same inputs, so that the outputs of the frozen blocks can be cached."""
    return not params.random_dihedral and not progressive_resizing.low_resolution_epochs(params)


def trainable_model(network: "keras.Model", params: Finetune, cut: int | None) -> "keras.Model":
    """Model to fit, with logits as outputs: the network, or its part above the cached feature maps; layers are shared."""
    if cut is not None:
        return feature_cache.trainable_part(network, cut)
    logits = classifier.logits_model(network)
    return progressive_resizing.with_dynamic_input_size(logits) if progressive_resizing.low_resolution_epochs(params) else logits


def optimizer(params: Finetune, steps_per_epoch: int) -> "keras.optimizers.Optimizer":
    """AdamW (Loshchilov and Hutter 2019) with warmup and cosine decay over all epochs."""
    import keras

    rate = setup.warmup_cosine_schedule(
        params.learning_rate, steps_per_epoch * params.epochs, round(steps_per_epoch * params.warmup_epochs)
    )
    return keras.optimizers.AdamW(rate, weight_decay=params.weight_decay)


class EpochDatasets:
    """Datasets for training and validation: images, or their cached feature maps."""

    def __init__(self, settings: Settings, counts: dict[str, dict[str, int]], kept: feature_cache.FeatureCache | None) -> None:
        self._settings, self._counts, self._kept = settings, counts, kept

    def train(self, epoch: int) -> "tf.data.Dataset":
        """Batches of one epoch; they depend only on the epoch number."""
        params, task, seed = self._settings.finetune, self._settings.task, epoch_seed(self._settings.seed, epoch)
        weights = setup.class_weights(self._counts["train"], task, params.class_weight_power)
        if self._kept:
            return self._kept.batches("train", task, params.batch_size, weights, seed)
        small = epoch < progressive_resizing.low_resolution_epochs(params)
        return input_pipeline.training_batches(
            "train",
            task,
            params.batch_size,
            weights,
            shuffle_seed=seed,
            symmetry_seed=seed if params.random_dihedral else None,
            resize_to=progressive_resizing.low_resolution_size(params, self._settings.base.image_size) if small else None,
        )

    def validation(self) -> "tf.data.Dataset":
        """All validation views at full size, with weights that balance the classes."""
        read = self._kept.batches if self._kept else input_pipeline.training_batches
        weights = setup.class_weights(self._counts["validation"], self._settings.task)
        return read("validation", self._settings.task, self._settings.finetune.batch_size, weights)


def epoch_seed(seed: int, epoch: int) -> int:
    """Seed of an epoch's order, derived from the run's seed and the epoch number."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


if __name__ == "__main__":
    run(lambda: finetune(load()), __doc__, tensorflow=True)
