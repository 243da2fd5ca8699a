"""Training that is stopped and goes on must end as if it had not been stopped."""

import numpy as np
import pandas as pd
import pytest

from components import fitting
from components.checkpoint import Checkpoint
from components.errors import LesionflowError

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


def network(rate: float = 0.05, average: float = 0.0):
    keras.utils.set_random_seed(3)
    made = keras.Sequential([keras.Input((6,)), keras.layers.Dropout(0.3), keras.layers.Dense(9)])
    falling = fitting.falling_rate(rate, 40, 4)
    fitting.compile_for("multiclass", made, keras.optimizers.AdamW(falling, use_ema=average > 0, ema_momentum=average))
    return made


def fit(made, checkpoint=None, stop_after=None, epochs=8, patience=8, compared_from=0):
    told = []

    def on_epoch(epoch, figures):
        told.append((epoch, figures["val_loss"]))
        if epoch == stop_after:
            raise Killed

    return fitting.fit(made, train, VALIDATION, epochs, patience, on_epoch, checkpoint, compared_from), told


@pytest.mark.parametrize(("average", "compared_from"), [(0.0, 0), (0.9, 0), (0.9, 5)])
@pytest.mark.parametrize("stopped", [0, 3, 7])
def test_stopped_and_taken_up_again_it_ends_in_the_same_weights_to_the_last_bit(tmp_path, stopped, average, compared_from):
    whole = network(average=average)
    expected, _ = fit(whole, compared_from=compared_from)
    checkpoint = Checkpoint(tmp_path / "checkpoint", "one")
    with pytest.raises(Killed):
        fit(network(average=average), checkpoint, stop_after=stopped, compared_from=compared_from)
    resumed = network(average=average)
    history, told = fit(resumed, checkpoint, compared_from=compared_from)
    assert history.equals(expected)
    assert [epoch for epoch, _ in told] == list(range(8))
    assert all(np.array_equal(one, other) for one, other in zip(resumed.get_weights(), whole.get_weights(), strict=True))
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
    best = fitting.best_epoch(history)
    assert best["val_balanced_accuracy"] == history["val_balanced_accuracy"].max()
    assert len(history) == best["epoch"] + 3 < 30
    assert made.evaluate(VALIDATION, verbose=0, return_dict=True)["loss"] == pytest.approx(best["val_loss"], rel=1e-5)


def test_the_average_over_the_steps_is_validated_and_kept_and_training_goes_on_from_the_weights_themselves():
    plain, averaged = network(), network(average=0.9)
    running, seen = [], []

    def average(*_):
        now = [variable.numpy() for variable in plain.trainable_variables]
        running[:] = [0.9 * old + 0.1 * new for old, new in zip(running or now, now, strict=True)]

    for epoch in range(3):
        fitting._rewind_dropout(plain, epoch)
        plain.fit(train(epoch), epochs=1, verbose=0, shuffle=False, callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=average)])
        seen.append(running[:])
    history, _ = fit(averaged, epochs=3, compared_from=2)
    assert [np.allclose(one, other, atol=1e-6) for one, other in zip(averaged.get_weights()[:2], seen[2], strict=True)] == [True, True]
    assert averaged.evaluate(VALIDATION, verbose=0, return_dict=True)["loss"] == pytest.approx(history["val_loss"][2], rel=1e-5)


def test_epochs_before_those_that_are_compared_are_never_the_best_and_never_stop_it():
    whole, _ = fit(network(0.9), epochs=12, patience=12)
    start = int(fitting.best_epoch(whole)["epoch"]) + 2
    made = network(0.9)
    history, _ = fit(made, epochs=12, patience=1, compared_from=start)
    assert len(history) > start
    best = fitting.best_epoch(history, start)
    assert best["epoch"] >= start
    assert made.evaluate(VALIDATION, verbose=0, return_dict=True)["loss"] == pytest.approx(best["val_loss"], rel=1e-5)


def test_of_epochs_alike_in_accuracy_the_one_of_lower_loss_is_best():
    rows = [(0.5, 1.0), (0.6, 1.2), (0.6, 1.1), (0.6, 1.1), (0.4, 0.2)]
    history = pd.DataFrame([{"epoch": n, "val_balanced_accuracy": a, "val_loss": loss} for n, (a, loss) in enumerate(rows)])
    assert fitting.best_epoch(history)["epoch"] == 2


def test_a_loss_that_is_no_number_says_what_may_help():
    with pytest.raises(LesionflowError, match="no number in epoch 1: a lower learning_rate"):
        made = network()
        made.layers[-1].bias.assign(np.full(9, np.nan, np.float32))
        fit(made)
