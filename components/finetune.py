"""Fine-tuning: unfreeze the upper blocks of the frozen-phase model and train on at a low rate.

Reads build/shards/ and build/frozen/. Writes build/finetuned/model.keras, reports/curves/finetune.csv and
reports/finetune.json, and one MLflow run. Stopped, it goes on from its last whole epoch.
"""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components import architectures, fitting, maps, model, records, resizing, tracking
from components.checkpoint import Checkpoint
from components.determinism import seed_everything
from components.files import replacing, sha256, write_json
from components.paths import CHECKPOINT, CURVES, FINETUNED, FROZEN, MAPS, MODEL, REPORTS
from components.settings import Finetune, Settings, load
from components.stage import run

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

REPORT = REPORTS / "finetune.json"
CODE = (fitting, maps, model, records, resizing)


def finetune(settings: Settings) -> None:
    """Run the stage.

    Raises:
        LesionflowError: there is no block to unfreeze from by that name, the disk has no room for the kept maps, or MLflow
            does not answer.
    """
    knobs, task = settings.finetune, settings.task
    seed_everything(settings.seed)
    counts = {side: records.counts(side) for side in maps.SIDES}
    views = sum(counts["train"].values())
    with fitting.strategy().scope():
        classifier = model.read(FROZEN / MODEL)
        start = architectures.unfreeze_from(settings.base.architecture, knobs.unfreeze_from)
        unfrozen = model.unfreeze(model.base_of(classifier), start)
        cut = maps.cut(model.base_of(classifier)) if views_repeat(knobs) else None
        trained = trained_part(classifier, knobs, cut)
        fitting.compile_for(task, trained, optimizer(knobs, -(-views // knobs.batch_size)))
    print(f"training {len(unfrozen)} layers of the base, from {unfrozen[0] if unfrozen else 'none'} up")
    tags = {"frozen.sha256": model.fingerprint(FROZEN / MODEL), "backbone.sha256": model.weights_identity(settings.base)}
    code = [sha256(Path(file)) for file in (__file__, *(str(module.__file__) for module in CODE))]
    params = settings.logged("finetuned")
    identity = json.dumps({"params": params, "tags": tags, "views": counts, "code": code}, sort_keys=True)
    checkpoint, full_from = Checkpoint(CHECKPOINT, identity), resizing.small_epochs(knobs)
    with tracking.start_phase("finetuned", params, tags) as mlflow_run:
        kept = None if cut is None else maps.keep(maps.below(classifier, cut), MAPS, identity)
        batches = Batches(settings, counts, kept)
        history = fitting.fit(
            trained, batches.train, batches.validation(), knobs.epochs, knobs.patience, mlflow_run.epoch, checkpoint, full_from
        )
        model.base_of(classifier).trainable = False
        with replacing(FINETUNED) as draft:
            draft.mkdir()
            model.save(classifier, draft / MODEL)
        fitting.write_curves(history, CURVES / "finetune.csv")
        best = fitting.best_epoch(history, full_from)
        report = {"epochs": len(history), "views": views, "unfrozen_layers": len(unfrozen), "kept_maps": kept.size if kept else 0}
        write_json(REPORT, {**report, "best": best})
        mlflow_run.finish(model.fingerprint(FINETUNED / MODEL), {f"best.{name}": value for name, value in best.items()})
    checkpoint.clear()
    shutil.rmtree(MAPS, ignore_errors=True)


def views_repeat(knobs: Finetune) -> bool:
    """Whether every epoch shows the same pictures, so that what frozen blocks make of them can be kept."""
    return not knobs.symmetries and not resizing.small_epochs(knobs)


def trained_part(classifier: "keras.Model", knobs: Finetune, cut: int | None) -> "keras.Model":
    """What is fitted, down to logits: the classifier, or what of it lies above the kept maps; layers are shared."""
    if cut is not None:
        return maps.above(classifier, cut)
    logits = model.logits_of(classifier)
    return resizing.of_any_size(logits) if resizing.small_epochs(knobs) else logits


def optimizer(knobs: Finetune, steps_per_epoch: int) -> "keras.optimizers.Optimizer":
    """AdamW (Loshchilov and Hutter 2019) at a rate that falls over all epochs."""
    import keras

    rate = fitting.falling_rate(knobs.learning_rate, steps_per_epoch * knobs.epochs, round(steps_per_epoch * knobs.warmup_epochs))
    return keras.optimizers.AdamW(rate, weight_decay=knobs.weight_decay)


class Batches:
    """What an epoch trains on and is validated on: pictures, or the maps that were kept of them."""

    def __init__(self, settings: Settings, counts: dict[str, dict[str, int]], kept: maps.KeptMaps | None) -> None:
        self._settings, self._counts, self._kept = settings, counts, kept

    def train(self, epoch: int) -> "tf.data.Dataset":
        """Batches of an epoch, which hang on its number alone."""
        knobs, task, seed = self._settings.finetune, self._settings.task, epoch_seed(self._settings.seed, epoch)
        weights = fitting.class_weights(self._counts["train"], task, knobs.class_weights)
        if self._kept:
            return self._kept.batches("train", task, knobs.batch_size, weights, seed)
        small = epoch < resizing.small_epochs(knobs)
        return records.batches(
            "train",
            task,
            knobs.batch_size,
            weights,
            shuffle_seed=seed,
            turn_seed=seed if knobs.symmetries else None,
            reduced_to=resizing.small_size(knobs, self._settings.base.image_size) if small else None,
        )

    def validation(self) -> "tf.data.Dataset":
        """Every validation view, in full size, with weights that even out the classes."""
        read = self._kept.batches if self._kept else records.batches
        weights = fitting.class_weights(self._counts["validation"], self._settings.task)
        return read("validation", self._settings.task, self._settings.finetune.batch_size, weights)


def epoch_seed(seed: int, epoch: int) -> int:
    """Seed of an epoch's order, apart for every pair of seed and epoch."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


if __name__ == "__main__":
    run(lambda: finetune(load()), __doc__, tensorflow=True)
