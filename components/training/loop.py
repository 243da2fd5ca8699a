"""The training loop of both phases: epochs, early stopping, restoring the best weights, curves."""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from components.core.errors import LesionflowError
from components.core.files import atomic_write
from components.training.checkpoint import Checkpoint

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


COLUMNS = ["epoch", "loss", "balanced_accuracy", "val_loss", "val_balanced_accuracy", "learning_rate"]
DRAWS_PER_EPOCH = 2**20
"""More than the steps of any epoch; multiplied by the maximum number of epochs it is below 2**32, the range of the counter."""


def train_with_early_stopping(
    model: "keras.Model",
    train: "Callable[[int], tf.data.Dataset]",
    validation: "tf.data.Dataset",
    epochs: int,
    patience: int,
    on_epoch_end: Callable[[int, dict[str, float]], None],
    checkpoint: Checkpoint | None = None,
    start_from_epoch: int = 0,
) -> pd.DataFrame:
    """Fit until balanced accuracy on validation has not improved for `patience` epochs, then restore the best epoch's weights.

    Stops on balanced accuracy rather than loss, because validation loss rises with overconfidence long before accuracy drops;
    temperature scaling corrects that later.

    Args:
        model: built and compiled.
        train: returns the batches of an epoch. Their order must depend only on the epoch number, so that an interrupted run ends
            with the same weights as an uninterrupted one.
        validation: batches of the early-stopping metric.
        epochs: maximum number of epochs.
        patience: epochs without improvement before training stops.
        on_epoch_end: called with the number and the metrics of each epoch, also for epochs before an interruption.
        checkpoint: saves the state after each epoch and restores it.
        start_from_epoch: number of the first epoch that can be the best one; training does not stop earlier.

    Returns:
        One row per epoch: epoch, loss, balanced_accuracy, val_loss, val_balanced_accuracy, learning_rate.

    Raises:
        LesionflowError: the loss is not finite.
    """
    with model.distribute_strategy.scope():
        model.optimizer.build(model.trainable_variables)
    rows, best = checkpoint.resume(model) if checkpoint else ([], None)
    if rows:
        print(f"resuming after epoch {len(rows)} of {epochs}")
    for row in rows:
        on_epoch_end(int(row["epoch"]), _metrics(row))
    shapes = None
    while len(rows) < epochs and (len(rows) <= start_from_epoch or _epochs_since_best(rows, start_from_epoch) < patience):
        number = len(rows)
        _reset_dropout_rng(model, number)
        shown = 1 if sys.stdout.isatty() else 2
        batches = train(number)
        if shapes not in (None, batches.element_spec):
            # Otherwise Keras traces a step for inputs of any size, which a resumed run would not do.
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
            raise LesionflowError(f"the loss is not finite in epoch {number + 1}. Try a lower learning_rate in params.yaml.")
        rows.append(row)
        improved = _epochs_since_best(rows, start_from_epoch) == 0
        if improved:
            best = model.get_weights()
        if checkpoint:
            checkpoint.save(model, rows, improved)
        on_epoch_end(number, _metrics(row))
    model.set_weights(best)
    return pd.DataFrame(rows, columns=COLUMNS)


def _reset_dropout_rng(model: "keras.Model", epoch: int) -> None:
    """Set the state of the dropout generators to a value that depends only on the epoch, since weights files do not store it."""
    for variable in model.non_trainable_variables:
        if variable.path.endswith("seed_generator_state"):
            variable.assign([variable.numpy()[0], epoch * DRAWS_PER_EPOCH])


def _metrics(row: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in row.items() if name != "epoch"}


def _epochs_since_best(rows: Sequence[Mapping[str, float]], start_from_epoch: int) -> int:
    return len(rows) - 1 - _best(rows, start_from_epoch)


def _best(rows: Sequence[Mapping[str, float]], start_from_epoch: int) -> int:
    """Number of the epoch with the best balanced accuracy on validation; ties go to the lower loss, then to the earlier epoch.

    Epochs before `start_from_epoch` count only while there is no later one.
    """
    compared = range(start_from_epoch, len(rows)) or range(len(rows))
    return max(compared, key=lambda at: (rows[at]["val_balanced_accuracy"], -rows[at]["val_loss"], -at))


def write_curves(history: pd.DataFrame, path: Path) -> None:
    """Write the curves as CSV for `dvc plots`."""
    with atomic_write(path) as draft:
        history.to_csv(draft, index=False)


def best_epoch(history: pd.DataFrame, start_from_epoch: int = 0) -> dict[str, float]:
    """Row of the epoch whose weights were restored; `start_from_epoch` as in `train_with_early_stopping`."""
    rows = [{str(name): float(value) for name, value in row.items()} for row in history.to_dict("records")]
    return rows[_best(rows, start_from_epoch)]
