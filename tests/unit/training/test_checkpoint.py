"""Interrupted and resumed training must give the same result as uninterrupted training."""

from functools import cache

import numpy as np
import pandas as pd
import pytest

from components.core.errors import LesionflowError
from components.modeling.determinism import seed_generators
from components.training import loop, setup
from components.training.checkpoint import Checkpoint

pytestmark = pytest.mark.slow

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.normal(size=(64, 6)).astype(np.float32)
TARGET = RANDOM.integers(0, 9, 64)
VALIDATION = tf.data.Dataset.from_tensor_slices((FEATURES[:20], TARGET[:20], np.ones(20, np.float32))).batch(10)


class Interrupted(Exception):
    pass


def train_dataset(epoch: int):
    order = np.random.default_rng([1, epoch]).permutation(64)
    return tf.data.Dataset.from_tensor_slices((FEATURES[order], TARGET[order], np.ones(64, np.float32))).batch(16)


def build_network(rate: float = 0.05):
    seed_generators(3)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dropout(0.3), keras.layers.Dense(9)])
    setup.compile_classifier(model, keras.optimizers.AdamW(setup.warmup_cosine_schedule(rate, 40, 4)))
    return model


def fit(model, checkpoint=None, stop_after=None, epochs=8, patience=8, compared_from=0):
    losses = []

    def on_epoch(epoch, metrics):
        losses.append((epoch, metrics["val_loss"]))
        if epoch == stop_after:
            raise Interrupted

    stopping = loop.EarlyStopping(epochs, patience, compared_from)
    return loop.train_with_early_stopping(model, loop.TrainingData(train_dataset, VALIDATION), stopping, on_epoch, checkpoint), losses


@cache
def uninterrupted_training(compared_from: int):
    """History and final weights of training without interruption."""
    model = build_network()
    history, _ = fit(model, compared_from=compared_from)
    return history, model.get_weights()


@pytest.mark.parametrize("compared_from", [0, 5])
@pytest.mark.parametrize("stop_after", [0, 3, 7])
def test_resumed_training_ends_in_identical_weights(tmp_path, stop_after, compared_from):
    expected, weights = uninterrupted_training(compared_from)
    checkpoint = Checkpoint(tmp_path / "checkpoint", "one")
    with pytest.raises(Interrupted):
        fit(build_network(), checkpoint, stop_after=stop_after, compared_from=compared_from)
    resumed = build_network()
    history, losses = fit(resumed, checkpoint, compared_from=compared_from)
    assert history.equals(expected)
    assert [epoch for epoch, _ in losses] == list(range(8))
    assert all(np.array_equal(resumed_weight, weight) for resumed_weight, weight in zip(resumed.get_weights(), weights, strict=True))
    checkpoint.clear()
    assert not (tmp_path / "checkpoint").exists()


def test_checkpoint_of_other_configuration_is_ignored(tmp_path):
    with pytest.raises(Interrupted):
        fit(build_network(), Checkpoint(tmp_path / "checkpoint", "one"), stop_after=3)
    expected, _ = fit(build_network(0.01))
    history, _ = fit(build_network(0.01), Checkpoint(tmp_path / "checkpoint", "other"))
    assert history.equals(expected)


def test_early_stopping_restores_best_epoch(tmp_path):
    model = build_network(0.9)
    history, _ = fit(model, Checkpoint(tmp_path / "checkpoint", "one"), epochs=30, patience=2)
    best = loop.best_epoch(history)
    assert best["val_balanced_accuracy"] == history["val_balanced_accuracy"].max()
    assert len(history) == best["epoch"] + 3 < 30
    assert model.evaluate(VALIDATION, verbose=0, return_dict=True)["loss"] == pytest.approx(best["val_loss"], rel=1e-5)


def test_early_stopping_ignores_epochs_before_compared_from():
    full_history, _ = fit(build_network(0.9), epochs=12, patience=12)
    start = int(loop.best_epoch(full_history)["epoch"]) + 2
    model = build_network(0.9)
    history, _ = fit(model, epochs=12, patience=1, compared_from=start)
    assert len(history) > start
    best = loop.best_epoch(history, start)
    assert best["epoch"] >= start
    assert model.evaluate(VALIDATION, verbose=0, return_dict=True)["loss"] == pytest.approx(best["val_loss"], rel=1e-5)


def test_best_epoch_breaks_accuracy_ties_by_loss():
    rows = [(0.5, 1.0), (0.6, 1.2), (0.6, 1.1), (0.6, 1.1), (0.4, 0.2)]
    history = pd.DataFrame([{"epoch": n, "val_balanced_accuracy": a, "val_loss": loss} for n, (a, loss) in enumerate(rows)])
    assert loop.best_epoch(history)["epoch"] == 2


def test_nan_loss_error_suggests_lower_learning_rate():
    with pytest.raises(LesionflowError, match=r"not finite in epoch 1\. Try a lower learning_rate"):
        model = build_network()
        model.layers[-1].bias.assign(np.full(9, np.nan, np.float32))
        fit(model)
