"""Fine-tunes a classifier: the upper blocks of its base and its head, on the views in a folder of shards."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from components.core import architectures
from components.core.files import sha256
from components.imaging import tfrecords
from components.modeling import backbone, classifier, serialization
from components.modeling.determinism import seed_everything
from components.runtime.params import Finetune, Settings
from components.training import feature_cache, input_pipeline, loop, progressive_resizing, setup
from components.training.checkpoint import Checkpoint

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

CODE_MODULES = (backbone, classifier, tfrecords, feature_cache, input_pipeline, loop, progressive_resizing, setup)
"""Modules that, with this file, determine the result of training; a checkpoint from different code is not resumed."""

Counts = Mapping[str, Mapping[str, int]]
"""Views of each split and class."""


@dataclass(frozen=True)
class Place:
    """Folders of a fine-tuning: `shards` with the splits train and validation; `checkpoint` and `cache`, from which an interrupted one
    resumes."""

    shards: Path
    checkpoint: Path
    cache: Path

    def clear(self) -> None:
        """Delete what only an interrupted fine-tuning needs."""
        shutil.rmtree(self.checkpoint, ignore_errors=True)
        shutil.rmtree(self.cache, ignore_errors=True)


@dataclass(frozen=True)
class UnfrozenNetwork:
    """The classifier with its unfrozen layers by name, the compiled model that trains them, and the number of the layer of the base whose
    output is cached, or None."""

    network: "keras.Model"
    layers: list[str]
    trainable: "keras.Model"
    cut: int | None

    def build_cache(self, place: Place, identity: str) -> feature_cache.FeatureCache | None:
        """The outputs of the frozen layers for all views, if they are cached."""
        if self.cut is None:
            return None
        frozen = feature_cache.frozen_part(self.network, self.cut)
        return feature_cache.build_feature_cache(frozen, place.cache, identity, place.shards)


@dataclass(frozen=True)
class Result:
    """`history`: one row per epoch; `best`: the row of the epoch whose weights the network has; `cached_bytes`: size of the cache."""

    history: pd.DataFrame
    best: dict[str, float]
    cached_bytes: int


@dataclass(frozen=True)
class FineTuning:
    """A fine-tuning.

    Attributes:
        settings: the sections `finetune` and the backbone, and the seed of weights, dropout and order.
        outputs: classes in the order of the logits.
        place: its folders.
        counts: views of each split and class in the shards.
    """

    settings: Settings
    outputs: Sequence[str]
    place: Place
    counts: Counts

    @classmethod
    def on_shards(cls, settings: Settings, outputs: Sequence[str], place: Place) -> "FineTuning":
        """A fine-tuning on the shards of a place."""
        counts = {split: tfrecords.class_counts(split, place.shards) for split in feature_cache.CACHED_SPLITS}
        return cls(settings, outputs, place, counts)

    @property
    def views(self) -> int:
        """Number of training views."""
        return sum(self.counts["train"].values())

    def unfrozen(self, frozen: Path) -> UnfrozenNetwork:
        """Seed everything, and load the saved classifier of the frozen phase, unfrozen and compiled.

        Raises:
            LesionflowError: the file is missing, or `unfreeze_from` names no block.
        """
        params = self.settings.finetune
        seed_everything(self.settings.seed)
        with setup.distribution_strategy().scope():
            network = serialization.load_classifier(frozen)
            start = architectures.unfreeze_from(self.settings.base.architecture, params.unfreeze_from)
            layers = backbone.unfreeze(backbone.get_base(network), start)
            cut = feature_cache.cut_layer_index(backbone.get_base(network)) if inputs_repeat(params) else None
            trainable = trainable_model(network, params, cut)
            setup.compile_classifier(trainable, optimizer(params, -(-self.views // params.batch_size)))
        return UnfrozenNetwork(network, layers, trainable, cut)

    def train(self, unfrozen: UnfrozenNetwork, tags: Mapping[str, str], on_epoch_end: loop.OnEpochEnd) -> Result:
        """Train until validation stops improving; the network then has the weights of the best epoch, and its base is frozen.

        Args:
            unfrozen: as `unfrozen` returns it; an interrupted training with the same identity is resumed.
            tags: hashes of all else that determines the result, by name.
            on_epoch_end: called with the number and the metrics of each epoch, also of those before an interruption.

        Raises:
            LesionflowError: the disk has no room for the feature cache, or the loss is not finite.
        """
        params, identity = self.settings.finetune, training_identity(self.settings, tags, self.counts)
        stopping = loop.EarlyStopping(params.epochs, params.patience, progressive_resizing.low_resolution_epochs(params))
        cache = unfrozen.build_cache(self.place, identity)
        datasets = EpochDatasets(self, cache)
        data = loop.TrainingData(datasets.train, datasets.validation())
        checkpoint = Checkpoint(self.place.checkpoint, identity)
        history = loop.train_with_early_stopping(unfrozen.trainable, data, stopping, on_epoch_end, checkpoint)
        backbone.get_base(unfrozen.network).trainable = False
        return Result(history, loop.best_epoch(history, stopping.start_from_epoch), cache.size if cache else 0)


class EpochDatasets:
    """Datasets for training and validation: images, or their cached feature maps."""

    def __init__(self, tuning: FineTuning, cache: feature_cache.FeatureCache | None) -> None:
        self._settings, self._counts, self._outputs = tuning.settings, tuning.counts, tuning.outputs
        self._read: Callable[..., tf.data.Dataset] = (
            cache.batches if cache else partial(input_pipeline.training_batches, root=tuning.place.shards)
        )

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


def training_identity(settings: Settings, tags: Mapping[str, str], counts: Counts) -> str:
    """Everything that determines the result of training, as text; `tags`: hashes of its inputs; `counts`: views of each split and class."""
    code = [sha256(Path(file)) for file in (__file__, *(str(module.__file__) for module in CODE_MODULES))]
    described = {"params": settings.logged("finetuned"), "tags": tags, "views": counts, "code": code}
    return json.dumps(described, sort_keys=True)


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


def epoch_seed(seed: int, epoch: int) -> int:
    """Seed of an epoch's order, derived from the run's seed and the epoch number."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
