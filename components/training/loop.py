"""The training loop of both phases: epochs, early stopping, the best weights, the curves."""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from components.core.errors import LesionflowError
from components.core.files import replacing
from components.training.checkpoint import Checkpoint

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


COLUMNS = ["epoch", "loss", "balanced_accuracy", "val_loss", "val_balanced_accuracy", "learning_rate"]
DRAWS_PER_EPOCH = 2**20
"""More than any epoch has steps; times the most epochs allowed it stays below 2**32, which the counter holds."""


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
