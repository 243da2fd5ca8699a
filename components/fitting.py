"""What frozen-base training and fine-tuning share: class weights, the falling rate, early stopping, the curves."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from components.classes import CLASSES, output_names, targets
from components.files import replacing

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


def balancing_weights(counts: Mapping[str, int], task: str) -> dict[int, float]:
    """Weight of each target, inverse to how often it occurs, mean one over the views (King and Zeng 2001).

    Args:
        counts: views of each diagnosis.
        task: "multiclass" (targets 0 to 8) or "binary" (0 and 1).
    """
    per_target = dict.fromkeys(range(len(output_names(task))), 0)
    for diagnosis, target in zip(CLASSES, targets(CLASSES, task), strict=True):
        per_target[target] += counts.get(diagnosis, 0)
    present = [target for target, count in per_target.items() if count]
    total = sum(per_target.values())
    return {target: total / (len(present) * count) if count else 0.0 for target, count in per_target.items()}


def even_weights(task: str) -> dict[int, float]:
    """Weight one for every target."""
    return dict.fromkeys(range(len(output_names(task))), 1.0)


def falling_rate(rate: float, steps: int, warmup_steps: int = 0) -> "keras.optimizers.schedules.LearningRateSchedule":
    """Linear warm-up to `rate`, then a cosine down to zero over the remaining steps (Loshchilov and Hutter 2017)."""
    import keras

    if warmup_steps:
        return keras.optimizers.schedules.CosineDecay(0.0, max(1, steps - warmup_steps), warmup_target=rate, warmup_steps=warmup_steps)
    return keras.optimizers.schedules.CosineDecay(rate, steps)


def compile_for(task: str, model: "keras.Model", optimizer: "keras.optimizers.Optimizer") -> None:
    """Compile a model that ends in logits; with weights that even out the classes its accuracy is the balanced one."""
    import keras

    loss: keras.losses.Loss
    accuracy: keras.metrics.Metric
    if task == "multiclass":
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        accuracy = keras.metrics.SparseCategoricalAccuracy(name="balanced_accuracy")
    else:
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        accuracy = keras.metrics.BinaryAccuracy(name="balanced_accuracy", threshold=0.0)
    model.compile(optimizer=optimizer, loss=loss, weighted_metrics=[accuracy])


def fit(
    model: "keras.Model",
    train: "tf.data.Dataset",
    validation: "tf.data.Dataset",
    epochs: int,
    patience: int,
    on_epoch: Callable[[int, dict[str, float]], None],
) -> pd.DataFrame:
    """Fit until the validation loss has not fallen for `patience` epochs, then restore the best epoch's weights.

    `train` shuffles itself.

    Returns:
        A row per epoch: epoch, loss, balanced_accuracy, val_loss, val_balanced_accuracy, learning_rate.
    """
    import keras

    rows: list[dict[str, Any]] = []

    def record(epoch: int, logs: dict[str, Any]) -> None:
        figures = {name: float(value) for name, value in logs.items()}
        figures["learning_rate"] = float(model.optimizer.learning_rate)
        rows.append({"epoch": epoch, **figures})
        on_epoch(epoch, figures)

    callbacks = [
        keras.callbacks.LambdaCallback(on_epoch_end=record),
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.EarlyStopping(monitor="val_loss", patience=patience, restore_best_weights=True),
    ]
    progress = 1 if sys.stdout.isatty() else 2
    model.fit(train, validation_data=validation, epochs=epochs, callbacks=callbacks, verbose=progress, shuffle=False)
    return pd.DataFrame(rows)


def write_curves(history: pd.DataFrame, path: Path) -> None:
    """Write the curves where `dvc plots` finds them."""
    with replacing(path) as draft:
        history.to_csv(draft, index=False)


def best_epoch(history: pd.DataFrame) -> dict[str, float]:
    """The row whose weights were restored: the lowest validation loss."""
    row = history.loc[history["val_loss"].idxmin()]
    return {str(name): float(value) for name, value in row.items()}
