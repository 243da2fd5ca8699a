"""Fine-tune: unfreeze the upper blocks of the frozen-phase model and continue training at a low learning rate.

Reads build/shards/ and build/frozen/. Writes build/finetuned/model.keras, reports/curves/finetune.csv and
reports/finetune.json, and one MLflow run. If it is interrupted, it resumes after the last complete epoch.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.core import architectures
from components.core.files import atomic_write, sha256, write_json
from components.core.label_set import LabelSet
from components.core.paths import CHECKPOINT, CURVES, FEATURE_CACHE, FINETUNED, FROZEN, MODEL_FILENAME, REPORTS
from components.imaging import tfrecords
from components.modeling import backbone, classifier, serialization
from components.modeling.determinism import seed_everything
from components.runtime.params import Backbone, Finetune, Settings
from components.runtime.params_file import load
from components.runtime.stage import run
from components.tracking import runs
from components.training import feature_cache, input_pipeline, loop, progressive_resizing, setup
from components.training.checkpoint import Checkpoint

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

REPORT = REPORTS / "finetune.json"
CODE_MODULES = (backbone, classifier, tfrecords, feature_cache, input_pipeline, loop, progressive_resizing, setup)
"""Modules that, with this file, determine the result of training; a checkpoint from different code is not resumed."""


def finetune(settings: Settings) -> None:
    """Run the stage.

    Raises:
        LesionflowError: `unfreeze_from` names no block, the disk has no room for the feature cache, or MLflow does not respond.
    """
    params = settings.finetune
    seed_everything(settings.seed)
    counts = {split: tfrecords.class_counts(split) for split in feature_cache.CACHED_SPLITS}
    views = sum(counts["train"].values())
    unfrozen = load_unfrozen(settings, views)
    print(f"training {len(unfrozen.layers)} layers of the base, from {unfrozen.layers[0] if unfrozen.layers else 'none'} up")
    tags = input_hashes(settings.base)
    identity = training_identity(settings, tags, counts)
    stopping = loop.EarlyStopping(params.epochs, params.patience, progressive_resizing.low_resolution_epochs(params))
    checkpoint = Checkpoint(CHECKPOINT, identity)
    with runs.start_phase_run("finetuned", settings.logged("finetuned"), tags) as mlflow_run:
        cache = unfrozen.build_cache(identity)
        datasets = EpochDatasets(settings, counts, cache)
        data = loop.TrainingData(datasets.train, datasets.validation())
        history = loop.train_with_early_stopping(unfrozen.trainable, data, stopping, mlflow_run.epoch, checkpoint)
        save_finetuned(unfrozen.network)
        loop.write_curves(history, CURVES / "finetune.csv")
        best = loop.best_epoch(history, stopping.start_from_epoch)
        report = {"epochs": len(history), "views": views, "unfrozen_layers": len(unfrozen.layers), "kept_maps": cache.size if cache else 0}
        write_json(REPORT, {**report, "best": best})
        mlflow_run.finish(
            serialization.classifier_sha256(FINETUNED / MODEL_FILENAME), {f"best.{name}": value for name, value in best.items()}
        )
    checkpoint.clear()
    shutil.rmtree(FEATURE_CACHE, ignore_errors=True)


@dataclass(frozen=True)
class UnfrozenNetwork:
    """The classifier with its unfrozen layers by name, the compiled model that trains them, and the number of the layer of the base whose
    output is cached, or None."""

    network: "keras.Model"
    layers: list[str]
    trainable: "keras.Model"
    cut: int | None

    def build_cache(self, identity: str) -> feature_cache.FeatureCache | None:
        """The outputs of the frozen layers for all views, if they are cached."""
        if self.cut is None:
            return None
        return feature_cache.build_feature_cache(feature_cache.frozen_part(self.network, self.cut), FEATURE_CACHE, identity)


def load_unfrozen(settings: Settings, views: int) -> UnfrozenNetwork:
    """The classifier of the frozen phase, unfrozen and compiled for this number of training views."""
    params = settings.finetune
    with setup.distribution_strategy().scope():
        network = serialization.load_classifier(FROZEN / MODEL_FILENAME)
        start = architectures.unfreeze_from(settings.base.architecture, params.unfreeze_from)
        layers = backbone.unfreeze(backbone.get_base(network), start)
        cut = feature_cache.cut_layer_index(backbone.get_base(network)) if inputs_repeat(params) else None
        trainable = trainable_model(network, params, cut)
        setup.compile_classifier(trainable, optimizer(params, -(-views // params.batch_size)))
    return UnfrozenNetwork(network, layers, trainable, cut)


def input_hashes(base: Backbone) -> dict[str, str]:
    """Hex sha256 of the frozen classifier and of the backbone's weights, as tags of the MLflow run."""
    return {
        "frozen.sha256": serialization.classifier_sha256(FROZEN / MODEL_FILENAME),
        "backbone.sha256": backbone.weights_sha256(base),
    }


def training_identity(settings: Settings, input_sha256: dict[str, str], counts: dict[str, dict[str, int]]) -> str:
    """Everything that determines the result of training, as text; `counts`: views of each split and class."""
    code = [sha256(Path(file)) for file in (__file__, *(str(module.__file__) for module in CODE_MODULES))]
    return json.dumps({"params": settings.logged("finetuned"), "tags": input_sha256, "views": counts, "code": code}, sort_keys=True)


def save_finetuned(network: "keras.Model") -> None:
    """Write build/finetuned/, with a frozen base."""
    backbone.get_base(network).trainable = False
    with atomic_write(FINETUNED) as draft:
        draft.mkdir()
        serialization.save_classifier(network, draft / MODEL_FILENAME)


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

    def __init__(self, settings: Settings, counts: dict[str, dict[str, int]], cache: feature_cache.FeatureCache | None) -> None:
        self._settings, self._counts, self._outputs = settings, counts, LabelSet.load().outputs
        self._read = cache.batches if cache else input_pipeline.training_batches

    def train(self, epoch: int) -> "tf.data.Dataset":
        """Batches of one epoch; they depend only on the epoch number."""
        params, seed = self._settings.finetune, epoch_seed(self._settings.seed, epoch)
        low_resolution = epoch < progressive_resizing.low_resolution_epochs(params)
        options = input_pipeline.BatchOptions(
            params.batch_size,
            setup.class_weights(self._counts["train"], self._outputs, params.class_weight_power),
            symmetry_seed=seed if params.random_dihedral else None,
            resize_to=progressive_resizing.low_resolution_size(params, self._settings.base.image_size) if low_resolution else None,
        )
        return self._read("train", options, shuffle_seed=seed)

    def validation(self) -> "tf.data.Dataset":
        """All validation views at full size, with weights that balance the classes."""
        weights = setup.class_weights(self._counts["validation"], self._outputs)
        return self._read("validation", input_pipeline.BatchOptions(self._settings.finetune.batch_size, weights))


def epoch_seed(seed: int, epoch: int) -> int:
    """Seed of an epoch's order, derived from the run's seed and the epoch number."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


if __name__ == "__main__":
    run(lambda: finetune(load()), __doc__, tensorflow=True)
