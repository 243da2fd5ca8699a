"""The training loop of both phases: epochs, early stopping, restoring the best weights, curves."""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from components.core.errors import LesionflowError
from components.core.files import atomic_write
from components.training.checkpoint import Checkpoint, EpochLogs

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


COLUMNS = ["epoch", "loss", "balanced_accuracy", "val_loss", "val_balanced_accuracy", "learning_rate"]
OnEpochEnd = Callable[[int, dict[str, float]], None]
DRAWS_PER_EPOCH = 2**20
"""More than the steps of any epoch; multiplied by the maximum number of epochs it is below 2**32, the range of the counter."""


@dataclass(frozen=True)
class TrainingData:
    """`train` returns the batches of an epoch, `validation` holds the batches of the early-stopping metric.

    The order of the training batches must depend only on the epoch number, so that an interrupted run ends with the same weights as an
    uninterrupted one.
    """

    train: "Callable[[int], tf.data.Dataset]"
    validation: "tf.data.Dataset"


@dataclass(frozen=True)
class EarlyStopping:
    """`epochs`: their maximum number; `patience`: epochs without improvement before training stops; `start_from_epoch`: number of the
    first epoch that can be the best one, before which training does not stop."""

    epochs: int
    patience: int
    start_from_epoch: int = 0

    def is_over(self, rows: Sequence[Mapping[str, float]]) -> bool:
        """Whether training stops after these epochs."""
        impatient = len(rows) > self.start_from_epoch and self.epochs_since_best(rows) >= self.patience
        return impatient or len(rows) >= self.epochs

    def epochs_since_best(self, rows: Sequence[Mapping[str, float]]) -> int:
        """Number of epochs after the best one."""
        return len(rows) - 1 - _best(rows, self.start_from_epoch)


@dataclass(frozen=True)
class Silent:
    """An `on_epoch_end` for many short trainings, of which Keras prints nothing; `then` is called, if there is one."""

    then: OnEpochEnd | None = None

    def __call__(self, number: int, metrics: dict[str, float]) -> None:
        if self.then:
            self.then(number, metrics)


def train_with_early_stopping(
    model: "keras.Model",
    data: TrainingData,
    stopping: EarlyStopping,
    on_epoch_end: OnEpochEnd,
    checkpoint: Checkpoint | None = None,
) -> pd.DataFrame:
    """Fit until balanced accuracy on validation stops improving, then restore the best epoch's weights.

    Stops on balanced accuracy rather than loss, because validation loss rises with overconfidence long before accuracy drops;
    temperature scaling corrects that later.

    Args:
        model: built and compiled.
        data: batches of training and validation.
        stopping: when training ends.
        on_epoch_end: called with the number and the metrics of each epoch, also for epochs before an interruption.
        checkpoint: saves the state after each epoch and restores it.

    Returns:
        One row per epoch: epoch, loss, balanced_accuracy, val_loss, val_balanced_accuracy, learning_rate.

    Raises:
        LesionflowError: the loss is not finite.
    """
    with model.distribute_strategy.scope():
        model.optimizer.build(model.trainable_variables)
    rows, best = checkpoint.resume(model) if checkpoint else ([], None)
    _report_resumed(rows, stopping.epochs, on_epoch_end)
    fit_epoch = _epoch_fitter(model, data, isinstance(on_epoch_end, Silent))
    while not stopping.is_over(rows):
        rows.append(fit_epoch(len(rows)))
        improved = stopping.epochs_since_best(rows) == 0
        if improved:
            best = model.get_weights()
        if checkpoint:
            checkpoint.save(model, rows, improved)
        on_epoch_end(len(rows) - 1, _metrics(rows[-1]))
    model.set_weights(best)
    return pd.DataFrame(rows, columns=COLUMNS)


def _report_resumed(rows: EpochLogs, epochs: int, on_epoch_end: OnEpochEnd) -> None:
    if rows:
        print(f"resuming after epoch {len(rows)} of {epochs}")
    for row in rows:
        on_epoch_end(int(row["epoch"]), _metrics(row))


def _epoch_fitter(model: "keras.Model", data: TrainingData, silent: bool) -> Callable[[int], dict[str, float]]:
    """Return a function that trains one epoch and returns its row of the history; it raises LesionflowError if the loss is not finite."""
    element_spec = None

    def fit_epoch(number: int) -> dict[str, float]:
        nonlocal element_spec
        _reset_dropout_rng(model, number)
        verbose = 0 if silent else 1 if sys.stdout.isatty() else 2
        batches = data.train(number)
        if element_spec not in (None, batches.element_spec):
            # Otherwise Keras traces a step for inputs of any size, which a resumed run would not do.
            model.make_train_function(force=True)
        element_spec = batches.element_spec
        logs = model.fit(
            batches, validation_data=data.validation, initial_epoch=number, epochs=number + 1, verbose=verbose, shuffle=False
        ).history
        row = {name: float(values[0]) for name, values in logs.items()}
        row |= {"epoch": number, "learning_rate": float(model.optimizer.learning_rate)}
        if not math.isfinite(row["loss"] + row["val_loss"]):
            raise LesionflowError(f"the loss is not finite in epoch {number + 1}. Try a lower learning_rate in params.yaml.")
        return row

    return fit_epoch


def _reset_dropout_rng(model: "keras.Model", epoch: int) -> None:
    """Set the state of the dropout generators to a value that depends only on the epoch, since weights files do not store it."""
    for variable in model.non_trainable_variables:
        if variable.path.endswith("seed_generator_state"):
            variable.assign([variable.numpy()[0], epoch * DRAWS_PER_EPOCH])


def _metrics(row: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in row.items() if name != "epoch"}


def _best(rows: Sequence[Mapping[str, float]], start_from_epoch: int) -> int:
    """Number of the epoch with the best balanced accuracy on validation; ties go to the lower loss, then to the earlier epoch.

    Epochs before `start_from_epoch` count only until there is a later one.
    """
    compared = range(start_from_epoch, len(rows)) or range(len(rows))
    return max(compared, key=lambda at: (rows[at]["val_balanced_accuracy"], -rows[at]["val_loss"], -at))


def write_curves(history: pd.DataFrame, path: Path) -> None:
    """Write the curves as CSV for `dvc plots`."""
    with atomic_write(path) as draft:
        history.to_csv(draft, index=False)


def best_epoch(history: pd.DataFrame, start_from_epoch: int = 0) -> dict[str, float]:
    """Row of the epoch whose weights were restored; `start_from_epoch` as in `EarlyStopping`."""
    rows = [{str(name): float(value) for name, value in row.items()} for row in history.to_dict("records")]
    return rows[_best(rows, start_from_epoch)]
