"""Fine-tuning: unfreeze the upper blocks of the frozen-phase model and train on at a low rate.

Reads build/shards/ and build/frozen/. Writes build/finetuned/model.keras, reports/curves/finetune.csv and
reports/finetune.json, and one MLflow run. Stopped, it goes on from its last whole epoch.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components import fitting, model, records, tracking
from components.checkpoint import Checkpoint
from components.determinism import seed_everything
from components.files import replacing, sha256, write_json
from components.paths import CHECKPOINT, CURVES, FINETUNED, FROZEN, MODEL, REPORTS
from components.settings import Settings, load
from components.stage import run

if TYPE_CHECKING:
    import tensorflow as tf

REPORT = REPORTS / "finetune.json"
SECTIONS = ("augment", "train", "finetune")


def finetune(settings: Settings) -> None:
    """Run the stage.

    Raises:
        LesionflowError: there is no block to unfreeze from by that name, or MLflow does not answer.
    """
    import keras

    knobs, task = settings.finetune, settings.task
    seed_everything(settings.seed)
    classifier = model.read(FROZEN / MODEL)
    unfrozen = model.unfreeze(model.base_of(classifier), knobs.unfreeze_from)
    print(f"training {len(unfrozen)} layers of the base, from {unfrozen[0] if unfrozen else 'none'} up")
    counts = {side: records.counts(side) for side in ("train", "validation")}
    views = sum(counts["train"].values())
    steps_per_epoch = -(-views // knobs.batch_size)
    rate = fitting.falling_rate(knobs.learning_rate, steps_per_epoch * knobs.epochs, round(steps_per_epoch * knobs.warmup_epochs))
    trained = model.logits_of(classifier)
    fitting.compile_for(task, trained, keras.optimizers.AdamW(rate, weight_decay=knobs.weight_decay))
    train_weights = fitting.balancing_weights(counts["train"], task) if knobs.class_weights else fitting.even_weights(task)
    tags = {"frozen.sha256": model.fingerprint(FROZEN / MODEL), "backbone.sha256": model.weights_identity(settings.base)}
    code = [sha256(Path(module)) for module in (__file__, str(fitting.__file__), str(model.__file__), str(records.__file__))]
    decides = {"params": settings.logged(SECTIONS), "tags": tags, "views": counts, "code": code}
    checkpoint = Checkpoint(CHECKPOINT, json.dumps(decides, sort_keys=True))

    def train_batches(epoch: int) -> "tf.data.Dataset":
        drawn = epoch_seed(settings.seed, epoch)
        turns = drawn if knobs.symmetries else None
        return records.batches("train", task, knobs.batch_size, train_weights, shuffle_seed=drawn, turn_seed=turns)

    with tracking.start_phase("finetuned", settings.logged(SECTIONS), tags) as mlflow_run:
        history = fitting.fit(
            trained,
            train_batches,
            records.batches("validation", task, knobs.batch_size, fitting.balancing_weights(counts["validation"], task)),
            knobs.epochs,
            knobs.patience,
            mlflow_run.epoch,
            checkpoint,
        )
        model.base_of(classifier).trainable = False
        with replacing(FINETUNED) as draft:
            draft.mkdir()
            model.save(classifier, draft / MODEL)
        fitting.write_curves(history, CURVES / "finetune.csv")
        best = fitting.best_epoch(history)
        write_json(REPORT, {"epochs": len(history), "views": views, "unfrozen_layers": len(unfrozen), "best": best})
        mlflow_run.finish(model.fingerprint(FINETUNED / MODEL), {f"best.{name}": value for name, value in best.items()})
    checkpoint.clear()


def epoch_seed(seed: int, epoch: int) -> int:
    """Seed of an epoch's order, apart for every pair of seed and epoch."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


if __name__ == "__main__":
    run(lambda: finetune(load()), __doc__, tensorflow=True)
