"""Train the head on the features of the frozen base.

Reads build/features/ and the backbone's weights. Writes build/frozen/model.keras (the whole classifier),
reports/curves/train.csv and reports/train.json, and one MLflow run.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.core.classes import encode_targets
from components.core.errors import LesionflowError
from components.core.files import atomic_write, read_json, require_file, write_json
from components.core.paths import CURVES, FEATURES, FROZEN, MODEL_FILENAME, REPORTS
from components.modeling import backbone, serialization
from components.modeling.classifier import build_classifier, build_head, logit_count
from components.modeling.determinism import seed_everything
from components.runtime.params import Settings
from components.runtime.params_file import load
from components.runtime.stage import run
from components.tracking import runs
from components.training import loop, setup

if TYPE_CHECKING:
    import tensorflow as tf

REPORT = REPORTS / "train.json"


@dataclass(frozen=True)
class EmbeddedViews:
    """The views of a split: `features`, shape (views, width), memory-mapped; `target` and `weight`, shape (views,)."""

    features: NDArray[np.float32]
    target: NDArray[np.int64]
    weight: NDArray[np.float64]

    def batches(self, order: NDArray[np.int64], size: int) -> "tf.data.Dataset":
        """Dataset of batches (features, target, weight) in this order; features are read from disk when needed."""
        import tensorflow as tf

        def read(at: "tf.Tensor", target: "tf.Tensor", weight: "tf.Tensor") -> "tuple[tf.Tensor, tf.Tensor, tf.Tensor]":
            features = tf.numpy_function(self.features.__getitem__, [at], tf.float32)
            return tf.ensure_shape(features, (None, self.features.shape[1])), target, weight

        return tf.data.Dataset.from_tensor_slices((order, self.target[order], self.weight[order])).batch(size).map(read)


def train(settings: Settings) -> None:
    """Run the stage.

    Raises:
        LesionflowError: the weights file is not the one the features were computed with, or MLflow does not respond.
    """
    import keras

    params, task = settings.train, settings.task
    weights_sha256 = backbone.weights_sha256(settings.base)
    if read_json(FEATURES / "backbone.json")["weights_sha256"] != weights_sha256:
        raise LesionflowError(
            f"{FEATURES} was not computed with {settings.base.weights}. Run `dvc repro --force embed` to compute the features again."
        )
    seed_everything(settings.seed)
    by_split = {}
    for split in ("train", "validation"):
        owners = pd.read_parquet(require_file(FEATURES / f"{split}.parquet"))
        counts = owners["diagnosis"].value_counts().to_dict()
        weights = setup.class_weights(counts, task, params.class_weight_power if split == "train" else 1.0)
        target = np.array(encode_targets(owners["diagnosis"].tolist(), task))
        by_split[split] = EmbeddedViews(np.load(FEATURES / f"{split}.npy", mmap_mode="r"), target, np.vectorize(weights.get)(target))

    views, width = by_split["train"].features.shape

    def batches(epoch: int) -> "tf.data.Dataset":
        order = np.random.default_rng([settings.seed, epoch]).permutation(views)
        return by_split["train"].batches(order, params.batch_size)

    steps = -(-views // params.batch_size) * params.epochs
    with setup.distribution_strategy().scope():
        head = build_head(width, params, logit_count(task))
        fitted = keras.Model(
            head.inputs, head.outputs
        )  # a compiled model is saved with its custom metric, so the head itself is not compiled
        setup.compile_classifier(task, fitted, keras.optimizers.Adam(setup.warmup_cosine_schedule(params.learning_rate, steps)))
    with runs.start_phase_run("frozen", settings.logged("frozen"), {"backbone.sha256": weights_sha256}) as mlflow_run:
        history = loop.train_with_early_stopping(
            fitted,
            batches,
            by_split["validation"].batches(np.arange(len(by_split["validation"].target)), params.batch_size),
            params.epochs,
            params.patience,
            mlflow_run.epoch,
        )
        classifier = build_classifier(backbone.build_extractor(settings.base), head, task)
        with atomic_write(FROZEN) as draft:
            draft.mkdir()
            serialization.save_classifier(classifier, draft / MODEL_FILENAME)
        loop.write_curves(history, CURVES / "train.csv")
        best = loop.best_epoch(history)
        write_json(REPORT, {"epochs": len(history), "views": views, "best": best})
        mlflow_run.finish(serialization.classifier_sha256(FROZEN / MODEL_FILENAME), {f"best.{name}": value for name, value in best.items()})


if __name__ == "__main__":
    run(lambda: train(load()), __doc__, tensorflow=True)
