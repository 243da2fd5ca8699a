"""Frozen-base training: fit the head on the features of the frozen base.

Reads build/features/ and the backbone's weights. Writes build/frozen/model.keras (the whole classifier),
reports/curves/train.csv and reports/train.json, and one MLflow run.
"""

import numpy as np
import pandas as pd

from components import fitting, model, tracking
from components.classes import targets
from components.determinism import seed_everything
from components.errors import LesionflowError
from components.files import existing, read_json, replacing, write_json
from components.paths import CURVES, FEATURES, FROZEN, MODEL, REPORTS
from components.settings import Settings, load
from components.stage import run

REPORT = REPORTS / "train.json"
SECTIONS = ("augment", "train")


def train(settings: Settings) -> None:
    """Run the stage.

    Raises:
        LesionflowError: the weights file is not the one the features were computed with, or MLflow does not answer.
    """
    import keras
    import tensorflow as tf

    knobs, task = settings.train, settings.task
    weights_sha256 = model.weights_identity(settings.base)
    if read_json(FEATURES / "backbone.json")["weights_sha256"] != weights_sha256:
        raise LesionflowError(
            f"{settings.base.weights} is not the file that {FEATURES} was computed with: `dvc repro --force embed` computes them anew"
        )
    seed_everything(settings.seed)
    sides = {}
    for side in ("train", "validation"):
        owners = pd.read_parquet(existing(FEATURES / f"{side}.parquet"))
        counts = owners["diagnosis"].value_counts().to_dict()
        balance = knobs.class_weights or side == "validation"
        weights = fitting.balancing_weights(counts, task) if balance else fitting.even_weights(task)
        target = np.array(targets(owners["diagnosis"].tolist(), task))
        sides[side] = (np.load(FEATURES / f"{side}.npy", mmap_mode="r"), target, np.vectorize(weights.get)(target))

    features, target, weight = sides["train"]

    def batches(epoch: int) -> "tf.data.Dataset":
        order = np.random.default_rng([settings.seed, epoch]).permutation(len(target))
        return tf.data.Dataset.from_tensor_slices((features[order], target[order], weight[order])).batch(knobs.batch_size)

    steps = -(-len(target) // knobs.batch_size) * knobs.epochs
    with fitting.strategy().scope():
        head = model.build_head(features.shape[1], knobs, model.logit_count(task))
        fitting.compile_for(task, head, keras.optimizers.Adam(fitting.falling_rate(knobs.learning_rate, steps)))
    with tracking.start_phase("frozen", settings.logged(SECTIONS), {"backbone.sha256": weights_sha256}) as mlflow_run:
        history = fitting.fit(
            head,
            batches,
            tf.data.Dataset.from_tensor_slices(sides["validation"]).batch(knobs.batch_size),
            knobs.epochs,
            knobs.patience,
            mlflow_run.epoch,
        )
        classifier = model.assemble(model.build_extractor(settings.base), head, task)
        with replacing(FROZEN) as draft:
            draft.mkdir()
            model.save(classifier, draft / MODEL)
        fitting.write_curves(history, CURVES / "train.csv")
        best = fitting.best_epoch(history)
        write_json(REPORT, {"epochs": len(history), "views": len(target), "best": best})
        mlflow_run.finish(model.fingerprint(FROZEN / MODEL), {f"best.{name}": value for name, value in best.items()})


if __name__ == "__main__":
    run(lambda: train(load()), __doc__, tensorflow=True)
