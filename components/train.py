"""Train the head on the features of the frozen base.

Reads build/features/ and the backbone's weights. Writes build/frozen/model.keras (the whole classifier),
reports/curves/train.csv and reports/train.json, and one MLflow run.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from components.core.errors import LesionflowError
from components.core.files import atomic_write, read_json, require_file, write_json
from components.core.label_set import LabelSet
from components.core.paths import CURVES, FEATURES, FROZEN, MODEL_FILENAME, REPORTS
from components.modeling import backbone, serialization
from components.modeling.classifier import build_classifier
from components.modeling.determinism import seed_everything
from components.runtime.params import Backbone, Settings
from components.runtime.params_file import load
from components.runtime.stage import run
from components.tracking import runs
from components.training import loop
from components.training.head import EmbeddedViews, compile_head, training_data

if TYPE_CHECKING:
    import keras

REPORT = REPORTS / "train.json"


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
    head, trainable = compile_head(params, labels, training)
    data = training_data(training, validation, params.batch_size, settings.seed)
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
    return EmbeddedViews.weighted(np.load(FEATURES / f"{split}.npy", mmap_mode="r"), rows["diagnosis"], labels, class_weight_power)


def save_frozen(classifier: "keras.Model") -> None:
    """Write build/frozen/."""
    with atomic_write(FROZEN) as draft:
        draft.mkdir()
        serialization.save_classifier(classifier, draft / MODEL_FILENAME)


if __name__ == "__main__":
    run(lambda: train(load()), __doc__, tensorflow=True)
