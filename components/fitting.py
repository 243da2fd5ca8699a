"""What frozen-base training and fine-tuning share: class weights, the falling rate, early stopping, the curves."""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from components.checkpoint import Checkpoint
from components.classes import CLASSES, output_names, targets
from components.errors import LesionflowError
from components.files import replacing

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


COLUMNS = ["epoch", "loss", "balanced_accuracy", "val_loss", "val_balanced_accuracy", "learning_rate"]
DRAWS_PER_EPOCH = 2**20
"""More than any epoch has steps; times the most epochs allowed it stays below 2**32, which the counter holds."""


def class_weights(counts: Mapping[str, int], task: str, power: float = 1.0) -> dict[int, float]:
    """Weight of each target: a power of the inverse of how often it occurs, mean one over the views (King and Zeng 2001).

    Args:
        counts: views of each diagnosis.
        task: "multiclass" (targets 0 to 8) or "binary" (0 and 1).
        power: 0 to 1. With 1 every class counts the same, with 0 every view.
    """
    per_target = dict.fromkeys(range(len(output_names(task))), 0)
    for diagnosis, target in zip(CLASSES, targets(CLASSES, task), strict=True):
        per_target[target] += counts.get(diagnosis, 0)
    raised = {target: count**-power if count else 0.0 for target, count in per_target.items()}
    mean = sum(raised[target] * count for target, count in per_target.items()) / sum(per_target.values())
    return {target: weight / mean for target, weight in raised.items()}


def falling_rate(rate: float, steps: int, warmup_steps: int = 0) -> "keras.optimizers.schedules.LearningRateSchedule":
    """Linear warm-up to `rate`, then a cosine down to zero over the remaining steps (Loshchilov and Hutter 2017)."""
    import keras

    if warmup_steps:
        return keras.optimizers.schedules.CosineDecay(0.0, max(1, steps - warmup_steps), warmup_target=rate, warmup_steps=warmup_steps)
    return keras.optimizers.schedules.CosineDecay(rate, steps)


def compile_for(task: str, model: "keras.Model", optimizer: "keras.optimizers.Optimizer") -> None:
    """Compile a model that ends in logits, to be fitted with weights and watched by its balanced accuracy, which they do not touch."""
    import keras

    loss: keras.losses.Loss
    if task == "multiclass":
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    else:
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
    # XLA is slower on processors, and with deterministic kernels, as the stages ask for, Keras leaves it off in any case.
    model.compile(optimizer=optimizer, loss=loss, metrics=[balanced_accuracy(task)], jit_compile=False)


def balanced_accuracy(task: str) -> "keras.metrics.Metric":
    """Mean recall over the classes that were seen, from logits: Keras has none."""
    import keras
    from keras import ops

    class BalancedAccuracy(keras.metrics.Metric):
        def __init__(self) -> None:
            super().__init__(name="balanced_accuracy")
            self._found, self._seen = (self.add_variable((len(output_names(task)),), "zeros", name=name) for name in ("found", "seen"))

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: None = None) -> None:  # noqa: ARG002 (Keras names it)
            said = ops.argmax(y_pred, axis=-1) if task == "multiclass" else ops.reshape(y_pred, (-1,)) > 0
            truth = ops.cast(ops.reshape(y_true, (-1,)), "int32")
            of_class = ops.one_hot(truth, len(output_names(task)))
            self._seen.assign_add(ops.sum(of_class, axis=0))
            self._found.assign_add(ops.sum(of_class * ops.cast(ops.cast(said, "int32") == truth, "float32")[:, None], axis=0))

        def result(self) -> Any:
            recalls = ops.divide_no_nan(self._found, self._seen)
            return ops.sum(recalls) / ops.maximum(ops.sum(ops.cast(self._seen > 0, "float32")), 1)

    return BalancedAccuracy()


def strategy(devices: Sequence[str] | None = None) -> "tf.distribute.Strategy":
    """How training is spread: over all devices where there are several, each with its part of every batch.

    Args:
        devices: TensorFlow's names of them; the GPUs it sees if left out.
    """
    import tensorflow as tf

    if devices is None:
        devices = [device.name for device in tf.config.list_logical_devices("GPU")]
    return tf.distribute.MirroredStrategy(devices) if len(devices) > 1 else tf.distribute.get_strategy()


def fit(
    model: "keras.Model",
    train: "Callable[[int], tf.data.Dataset]",
    validation: "tf.data.Dataset",
    epochs: int,
    patience: int,
    on_epoch: Callable[[int, dict[str, float]], None],
    checkpoint: Checkpoint | None = None,
    compared_from: int = 0,
) -> pd.DataFrame:
    """Fit until balanced accuracy on validation has not risen for `patience` epochs, then restore the best epoch's weights.

    Not until the loss rests: it rises with confidence long before accuracy falls, and the temperature mends it afterwards.

    Args:
        model: built and compiled.
        train: the batches of an epoch, by its number, in an order that depends on nothing else: so a training that was
            stopped and goes on ends in the same weights as one that was not.
        validation: the batches to stop on.
        epochs: at most so many.
        patience: epochs without a better one before it stops.
        on_epoch: told the figures of each epoch, of those before a stop again.
        checkpoint: where to keep the state after each epoch, and take it up from.
        compared_from: number of the first epoch that may be the best, or that training may stop for.

    Returns:
        A row per epoch: epoch, loss, balanced_accuracy, val_loss, val_balanced_accuracy, learning_rate.

    Raises:
        LesionflowError: the loss is no number any more.
    """
    with model.distribute_strategy.scope():
        model.optimizer.build(model.trainable_variables)
    rows, best = checkpoint.resume(model) if checkpoint else ([], None)
    if rows:
        print(f"going on after epoch {len(rows)} of {epochs}, where training was stopped")
    for row in rows:
        on_epoch(int(row["epoch"]), _figures(row))
    shapes = None
    while len(rows) < epochs and (len(rows) <= compared_from or _epochs_since_best(rows, compared_from) < patience):
        number = len(rows)
        _rewind_dropout(model, number)
        shown = 1 if sys.stdout.isatty() else 2
        batches = train(number)
        if shapes not in (None, batches.element_spec):
            # Else Keras traces a step for pictures of any size, which one that was stopped before would not do.
            model.make_train_function(force=True)
        shapes = batches.element_spec
        logs = model.fit(
            batches,
            validation_data=validation,
            initial_epoch=number,
            epochs=number + 1,
            verbose=shown,
            shuffle=False,
        ).history
        row = {name: float(values[0]) for name, values in logs.items()}
        row |= {"epoch": number, "learning_rate": float(model.optimizer.learning_rate)}
        if not math.isfinite(row["loss"] + row["val_loss"]):
            raise LesionflowError(f"the loss is no number in epoch {number + 1}: a lower learning_rate in params.yaml may help")
        rows.append(row)
        improved = _epochs_since_best(rows, compared_from) == 0
        if improved:
            best = model.get_weights()
        if checkpoint:
            checkpoint.save(model, rows, improved)
        on_epoch(number, _figures(row))
    model.set_weights(best)
    return pd.DataFrame(rows, columns=COLUMNS)


def _rewind_dropout(model: "keras.Model", epoch: int) -> None:
    """Let dropout draw from a stretch of its generator that depends on the epoch alone: a weights file does not hold its place."""
    for variable in model.non_trainable_variables:
        if variable.path.endswith("seed_generator_state"):
            variable.assign([variable.numpy()[0], epoch * DRAWS_PER_EPOCH])


def _figures(row: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in row.items() if name != "epoch"}


def _epochs_since_best(rows: Sequence[Mapping[str, float]], compared_from: int) -> int:
    return len(rows) - 1 - _best(rows, compared_from)


def _best(rows: Sequence[Mapping[str, float]], compared_from: int) -> int:
    """Number of the epoch with the best balanced accuracy on validation; of equals that with the lower loss, then the earlier.

    Those before `compared_from` count only until there is one after them.
    """
    compared = range(compared_from, len(rows)) or range(len(rows))
    return max(compared, key=lambda at: (rows[at]["val_balanced_accuracy"], -rows[at]["val_loss"], -at))


def write_curves(history: pd.DataFrame, path: Path) -> None:
    """Write the curves where `dvc plots` finds them."""
    with replacing(path) as draft:
        history.to_csv(draft, index=False)


def best_epoch(history: pd.DataFrame, compared_from: int = 0) -> dict[str, float]:
    """The row whose weights were restored; `compared_from` as for `fit`."""
    rows = [{str(name): float(value) for name, value in row.items()} for row in history.to_dict("records")]
    return rows[_best(rows, compared_from)]
