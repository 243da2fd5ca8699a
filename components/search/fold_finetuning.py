"""Fine-tunes on some of the images of a cross-validation, from the head on, and predicts others."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components import search, training
from components.augmentation.shards import render_shards
from components.augmentation.views import PlannedImage, ViewRenderer, plan_views, views_per_image
from components.core.files import atomic_write
from components.core.label_set import LabelSet
from components.core.paths import DATA
from components.imaging import tfrecords
from components.imaging.model_input import ModelInput
from components.modeling import backbone, serialization
from components.modeling.classifier import build_classifier, inference_function, logits_model
from components.runtime.params import Settings
from components.runtime.tensorflow import thread_count
from components.search.fold_cache import FoldCache, resolution
from components.search.fold_calibration import Trained
from components.search.folds import Dealt, Parts
from components.search.head_training import HeadSettings, fit_head
from components.search.identity import code_sha256, sha256_of
from components.search.work_folders import work_folder
from components.training.finetuning import FineTuning, Place
from components.training.loop import OnEpochEnd, Silent

if TYPE_CHECKING:
    import keras

FOLDER = Path("build/cv/finetuning")
HELD_OUT = "held_out"
"""Split of the shards with the clean pictures of the held-out images; those of the stopping images are `validation`."""


@dataclass(frozen=True)
class Task:
    """What is fine-tuned.

    Attributes:
        cache: features, for the head.
        parts: of its images.
        labels: the label set.
        settings: params.yaml, with the seed of this training.
    """

    cache: FoldCache
    parts: Parts
    labels: LabelSet
    settings: Settings

    @cached_property
    def identity(self) -> str:
        """Of everything that decides the shards, and of the code of all that follows."""
        described = {
            "features": self.cache.identity,
            "parts": [np.packbits(mask).tobytes().hex() for mask in (self.parts.trained, self.parts.stopping, self.parts.held_out)],
            "labels": self.labels.identity,
            "seed": self.settings.seed,
            "code": code_sha256(search, training),
        }
        return sha256_of(described)


@dataclass(frozen=True)
class FineTuned:
    """`network`: the classifier, with the weights of the best epoch; `epochs`: number of epochs trained; `score`: balanced accuracy on the
    stopping images, of the best epoch."""

    network: "keras.Model"
    epochs: int
    score: float


def fine_tune_fold(cache: FoldCache, dealt: Dealt, labels: LabelSet, settings: Settings) -> Trained:
    """Train a head while a fold is held out, fine-tune with it, and predict; an interrupted fold goes on after its last epoch."""
    params, parts = settings.finetune, dealt.parts
    task = Task(cache, parts, labels, settings.model_copy(update={"seed": dealt.seed}))

    def show(epoch: int, metrics: Mapping[str, float]) -> None:
        reached = f"balanced accuracy {metrics['val_balanced_accuracy']:.3f} where it stops"
        print(f"repeat {dealt.repeat} fold {dealt.number}: epoch {epoch + 1} of {params.epochs}, {reached}", flush=True)

    with work_folder(FOLDER, task.identity) as folder:
        tuned = fine_tune(task, folder, Silent(show))
        stopping = _logits(tuned.network, folder, "validation", task.cache.images["path"][parts.stopping])
        held_out = _logits(tuned.network, folder, HELD_OUT, task.cache.images["path"][parts.held_out])
        shutil.rmtree(folder)
    return Trained(stopping, held_out, tuned.epochs, tuned.score)


def fine_tune(task: Task, folder: Path, on_epoch_end: OnEpochEnd) -> FineTuned:
    """Train the head, render the shards and fine-tune, as the stages do; what an interrupted call left in the folder is used.

    Args:
        task: what is fine-tuned. The same task and number of threads give the same network.
        folder: a work folder of the task's identity.
        on_epoch_end: called with the number and the metrics of each epoch; may raise to end the training.

    Raises:
        LesionflowError: an image or the weights are missing, the disk is full, or the loss is not finite.
    """
    place = _place(folder)
    _render(task, place.shards)
    frozen = _frozen_classifier(task, folder)
    tuning = FineTuning.on_shards(task.settings, task.labels.outputs, place)
    unfrozen = tuning.unfrozen(frozen)
    tags = {"frozen.sha256": serialization.classifier_sha256(frozen), "shards": task.identity, "threads": str(thread_count())}
    result = tuning.train(unfrozen, tags, on_epoch_end)
    return FineTuned(unfrozen.network, len(result.history), result.best["val_balanced_accuracy"])


def discard_progress(folder: Path) -> None:
    """Delete from a work folder all but the shards, which another task of the same identity uses."""
    _place(folder).clear()
    shutil.rmtree(folder / "frozen", ignore_errors=True)


def plan(images: pd.DataFrame, parts: Parts, settings: Settings) -> dict[str, list[PlannedImage]]:
    """The images of each split of the shards: augmented views of the trained ones, whose numbers depend on the classes of these alone,
    and clean pictures of the others."""
    trained, params = images[parts.trained], settings.augment
    counts = trained["diagnosis"].value_counts().to_dict()
    views = views_per_image(counts, params.views_per_image, params.max_views_per_image)
    planned = {"train": plan_views(trained, views, settings.seed), "validation": _clean(images[parts.stopping])}
    measured = parts.held_out & ~parts.stopping
    return {**planned, HELD_OUT: _clean(images[measured])} if measured.any() else planned


def _clean(rows: pd.DataFrame) -> list[PlannedImage]:
    return [PlannedImage(row.path, row.diagnosis, 1) for row in rows.itertuples()]


def _place(folder: Path) -> Place:
    return Place(folder / "shards", folder / "checkpoint", folder / "maps")


def _render(task: Task, shards: Path) -> None:
    if shards.exists():
        return
    settings = task.settings
    renderer = ViewRenderer(DATA, ModelInput(settings.base.image_size, resolution()), settings.augment, settings.seed)
    with atomic_write(shards) as draft:
        render_shards(draft, plan(task.cache.images, task.parts, settings), renderer, task.labels.outputs)


def _frozen_classifier(task: Task, folder: Path) -> Path:
    """The classifier with the head trained on cached features, as a file, as `train` writes it."""
    params = HeadSettings(task.settings.train, task.settings.seed)
    path = folder / "frozen" / f"{sha256_of({'train': params.params.model_dump()})[:16]}.keras"
    if not path.exists():
        shutil.rmtree(path.parent, ignore_errors=True)
        head, _ = fit_head(task.cache, task.parts, task.labels, params)
        serialization.save_classifier(build_classifier(backbone.build_extractor(task.settings.base), head), path)
    return path


def _logits(network: "keras.Model", folder: Path, split: str, paths: pd.Series) -> NDArray[np.float32]:
    """Uncalibrated logits of the images of a split in the order of their paths, (n, logits)."""
    logits, position = logits_model(network), {path: number for number, path in enumerate(paths)}
    compute, found = inference_function(logits), np.empty((len(position), logits.output_shape[-1]), dtype=np.float32)
    for batch in tfrecords.iter_batches(split, _place(folder).shards):
        found[[position[path] for path in tfrecords.paths_of(batch)]] = compute(batch["pixels"])
    return found
