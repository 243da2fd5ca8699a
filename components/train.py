"""Train the head on the features of the frozen base.

Reads build/features/ and the backbone's weights. Writes build/frozen/model.keras (the whole classifier),
reports/curves/train.csv and reports/train.json, and one MLflow run.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.core.errors import LesionflowError
from components.core.files import atomic_write, read_json, require_file, write_json
from components.core.label_set import LabelSet
from components.core.paths import CURVES, FEATURES, FROZEN, MODEL_FILENAME, REPORTS
from components.modeling import backbone, serialization
from components.modeling.classifier import build_classifier, build_head
from components.modeling.determinism import seed_everything
from components.runtime.params import Backbone, Settings
from components.runtime.params_file import load
from components.runtime.stage import run
from components.tracking import runs
from components.training import loop, setup

if TYPE_CHECKING:
    import keras
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
    params, labels = settings.train, LabelSet.load()
    weights_sha256 = require_current_features(settings.base)
    seed_everything(settings.seed)
    training = load_views("train", labels, params.class_weight_power)
    validation = load_views("validation", labels, 1.0)
    head, trainable = compile_head(settings, labels, training)
    data = loop.TrainingData(
        lambda epoch: training.batches(shuffled_rows(training, settings.seed, epoch), params.batch_size),
        validation.batches(np.arange(len(validation.target)), params.batch_size),
    )
    with runs.start_phase_run(
        "frozen", settings.logged("frozen"), {"backbone.sha256": weights_sha256, "label_set": labels.name}
    ) as mlflow_run:
        history = loop.train_with_early_stopping(trainable, data, loop.EarlyStopping(params.epochs, params.patience), mlflow_run.epoch)
        save_frozen(build_classifier(backbone.build_extractor(settings.base), head))
        loop.write_curves(history, CURVES / "train.csv")
        best = loop.best_epoch(history)
        write_json(REPORT, {"epochs": len(history), "views": len(training.target), "best": best})
        mlflow_run.finish(serialization.classifier_sha256(FROZEN / MODEL_FILENAME), {f"best.{name}": value for name, value in best.items()})


def require_current_features(base: Backbone) -> str:
    """Hex sha256 of the backbone's weights, from which the features were computed.

    Raises:
        LesionflowError: they were computed from other weights.
    """
    weights_sha256 = backbone.weights_sha256(base)
    if read_json(FEATURES / "backbone.json")["weights_sha256"] != weights_sha256:
        raise LesionflowError(
            f"{FEATURES} was not computed with {base.weights}. Run `dvc repro --force embed` to compute the features again."
        )
    return weights_sha256


def load_views(split: str, labels: LabelSet, class_weight_power: float) -> EmbeddedViews:
    """The features of a split's views, with their targets and weights."""
    rows = pd.read_parquet(require_file(FEATURES / f"{split}.parquet"))
    weights = setup.class_weights(rows["diagnosis"].value_counts().to_dict(), labels.outputs, class_weight_power)
    target = np.array(labels.encode(rows["diagnosis"]))
    return EmbeddedViews(np.load(FEATURES / f"{split}.npy", mmap_mode="r"), target, np.vectorize(weights.get)(target))


def compile_head(settings: Settings, labels: LabelSet, training: EmbeddedViews) -> "tuple[keras.Model, keras.Model]":
    """The head, and a compiled model that shares its layers: a compiled model is saved with its custom metric, so the head itself is not
    compiled."""
    import keras

    params, (views, width) = settings.train, training.features.shape
    steps = -(-views // params.batch_size) * params.epochs
    with setup.distribution_strategy().scope():
        head = build_head(width, params, labels.logits)
        trainable = keras.Model(head.inputs, head.outputs)
        setup.compile_classifier(trainable, keras.optimizers.Adam(setup.warmup_cosine_schedule(params.learning_rate, steps)))
    return head, trainable


def shuffled_rows(views: EmbeddedViews, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of an epoch, which depends only on the seed and the epoch number."""
    return np.random.default_rng([seed, epoch]).permutation(len(views.target))


def save_frozen(classifier: "keras.Model") -> None:
    """Write build/frozen/."""
    with atomic_write(FROZEN) as draft:
        draft.mkdir()
        serialization.save_classifier(classifier, draft / MODEL_FILENAME)


if __name__ == "__main__":
    run(lambda: train(load()), __doc__, tensorflow=True)
