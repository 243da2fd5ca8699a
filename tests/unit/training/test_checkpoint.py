"""Training that is stopped and goes on must end as if it had not been stopped."""

from functools import cache

import numpy as np
import pandas as pd
import pytest

from components.core.errors import LesionflowError
from components.training import loop, setup
from components.training.checkpoint import Checkpoint

pytestmark = pytest.mark.slow

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.normal(size=(64, 6)).astype(np.float32)
TARGET = RANDOM.integers(0, 9, 64)
VALIDATION = tf.data.Dataset.from_tensor_slices((FEATURES[:20], TARGET[:20], np.ones(20, np.float32))).batch(10)


class Killed(Exception):
    pass


def train(epoch: int):
    order = np.random.default_rng([1, epoch]).permutation(64)
    return tf.data.Dataset.from_tensor_slices((FEATURES[order], TARGET[order], np.ones(64, np.float32))).batch(16)


def network(rate: float = 0.05):
    keras.utils.set_random_seed(3)
    made = keras.Sequential([keras.Input((6,)), keras.layers.Dropout(0.3), keras.layers.Dense(9)])
    setup.compile_classifier("multiclass", made, keras.optimizers.AdamW(setup.warmup_cosine_schedule(rate, 40, 4)))
    return made


def fit(made, checkpoint=None, stop_after=None, epochs=8, patience=8, compared_from=0):
    told = []

    def on_epoch(epoch, figures):
        told.append((epoch, figures["val_loss"]))
        if epoch == stop_after:
            raise Killed

    stopping = loop.EarlyStopping(epochs, patience, compared_from)
    return loop.train_with_early_stopping(made, loop.TrainingData(train, VALIDATION), stopping, on_epoch, checkpoint), told


@cache
def unstopped(compared_from: int):
    """History and last weights of a training that nothing stopped."""
    whole = network()
    history, _ = fit(whole, compared_from=compared_from)
    return history, whole.get_weights()


@pytest.mark.parametrize("compared_from", [0, 5])
@pytest.mark.parametrize("stopped", [0, 3, 7])
def test_stopped_and_taken_up_again_it_ends_in_the_same_weights_to_the_last_bit(tmp_path, stopped, compared_from):
    expected, weights = unstopped(compared_from)
    checkpoint = Checkpoint(tmp_path / "checkpoint", "one")
    with pytest.raises(Killed):
        fit(network(), checkpoint, stop_after=stopped, compared_from=compared_from)
    resumed = network()
    history, told = fit(resumed, checkpoint, compared_from=compared_from)
    assert history.equals(expected)
    assert [epoch for epoch, _ in told] == list(range(8))
    assert all(np.array_equal(one, other) for one, other in zip(resumed.get_weights(), weights, strict=True))
    checkpoint.clear()
    assert not (tmp_path / "checkpoint").exists()


def test_the_state_of_another_training_is_not_taken_up(tmp_path):
    with pytest.raises(Killed):
        fit(network(), Checkpoint(tmp_path / "checkpoint", "one"), stop_after=3)
    expected, _ = fit(network(0.01))
    history, _ = fit(network(0.01), Checkpoint(tmp_path / "checkpoint", "other"))
    assert history.equals(expected)


def test_it_stops_when_balanced_accuracy_rests_and_restores_the_best_epoch(tmp_path):
    made = network(0.9)
    history, _ = fit(made, Checkpoint(tmp_path / "checkpoint", "one"), epochs=30, patience=2)
    best = loop.best_epoch(history)
    assert best["val_balanced_accuracy"] == history["val_balanced_accuracy"].max()
    assert len(history) == best["epoch"] + 3 < 30
    assert made.evaluate(VALIDATION, verbose=0, return_dict=True)["loss"] == pytest.approx(best["val_loss"], rel=1e-5)


def test_epochs_before_those_that_are_compared_are_never_the_best_and_never_stop_it():
    whole, _ = fit(network(0.9), epochs=12, patience=12)
    start = int(loop.best_epoch(whole)["epoch"]) + 2
    made = network(0.9)
    history, _ = fit(made, epochs=12, patience=1, compared_from=start)
    assert len(history) > start
    best = loop.best_epoch(history, start)
    assert best["epoch"] >= start
    assert made.evaluate(VALIDATION, verbose=0, return_dict=True)["loss"] == pytest.approx(best["val_loss"], rel=1e-5)


def test_of_epochs_alike_in_accuracy_the_one_of_lower_loss_is_best():
    rows = [(0.5, 1.0), (0.6, 1.2), (0.6, 1.1), (0.6, 1.1), (0.4, 0.2)]
    history = pd.DataFrame([{"epoch": n, "val_balanced_accuracy": a, "val_loss": loss} for n, (a, loss) in enumerate(rows)])
    assert loop.best_epoch(history)["epoch"] == 2


def test_a_loss_that_is_no_number_says_what_may_help():
    with pytest.raises(LesionflowError, match=r"not finite in epoch 1\. Try a lower learning_rate"):
        made = network()
        made.layers[-1].bias.assign(np.full(9, np.nan, np.float32))
        fit(made)
