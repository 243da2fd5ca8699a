"""Setup shared by head training and fine-tuning. TensorFlow fixes its devices at startup, so tests of devices run in a subprocess."""

import os
import subprocess
import sys

import numpy as np
import pytest

from components.evaluation.metrics import balanced_accuracy
from components.training import setup
from tests.support.labels import CLASSES
from tests.support.project import ROOT

pytestmark = pytest.mark.slow

COUNTS = {"nevus": 900, "melanoma": 90, "basal_cell_carcinoma": 10}

TWO_DEVICES = """
import numpy as np
import tensorflow as tf
import keras
from pathlib import Path
from components.training import loop, setup
from components.training.checkpoint import Checkpoint

processor = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
assert setup.distribution_strategy().num_replicas_in_sync == 1
assert setup.distribution_strategy(["CPU:0"]).num_replicas_in_sync == 1
random = np.random.default_rng(0)
features, target = random.normal(size=(64, 6)).astype(np.float32), random.integers(0, 9, 64)
views = tf.data.Dataset.from_tensor_slices((features, target, np.ones(64, np.float32))).batch(16)
data = loop.TrainingData(lambda epoch: views, views)

def train(devices):
    keras.utils.set_random_seed(3)
    with setup.distribution_strategy(devices).scope():
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(9)])
        rate = setup.warmup_cosine_schedule(0.05, 15, 2)
        setup.compile_classifier(model, keras.optimizers.AdamW(rate))
    assert model.distribute_strategy.num_replicas_in_sync == len(devices)
    interrupted = []
    checkpoint = Checkpoint(Path(sys.argv[1]) / f"{len(devices)}", "one")

    def interrupt_once(epoch, _):
        if epoch == 1 and not interrupted:
            interrupted.append(epoch)
            raise InterruptedError

    try:
        loop.train_with_early_stopping(model, data, loop.EarlyStopping(3, 3), interrupt_once, checkpoint)
    except InterruptedError:
        loop.train_with_early_stopping(model, data, loop.EarlyStopping(3, 3), interrupt_once, checkpoint)
    return model.get_weights()

one, two = train(["CPU:0"]), train(["CPU:0", "CPU:1"])
assert all(np.allclose(a, b, atol=1e-3) for a, b in zip(one, two, strict=True)), (one, two)
"""


def test_two_devices_train_to_same_weights_as_one(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.run(
        [sys.executable, "-c", f"import sys\n{TWO_DEVICES}", str(tmp_path)], env=environment, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stdout + process.stderr


def test_class_weights_balance_classes_at_power_one_only():
    balanced, unweighted = (setup.class_weights(COUNTS, CLASSES, power) for power in (1.0, 0.0))
    sums = [balanced[CLASSES.index(name)] * count for name, count in COUNTS.items()]
    assert np.allclose(sums, sum(COUNTS.values()) / 3)
    assert {unweighted[CLASSES.index(name)] for name in COUNTS} == {1.0}
    assert balanced[CLASSES.index("vascular_lesion")] == unweighted[CLASSES.index("vascular_lesion")] == 0


@pytest.mark.parametrize("power", [0.0, 0.25, 0.5, 1.0])
def test_class_weights_average_one_and_increase_with_rarity(power):
    weights = setup.class_weights(COUNTS, CLASSES, power)
    weight_of_class = {name: weights[CLASSES.index(name)] for name in COUNTS}
    assert sum(weight_of_class[name] * count for name, count in COUNTS.items()) == pytest.approx(1000)
    rare, common = weight_of_class["basal_cell_carcinoma"], weight_of_class["nevus"]
    assert rare / common == pytest.approx((900 / 10) ** power)


@pytest.mark.parametrize("outputs", [9, 1])
def test_training_metric_equals_reported_balanced_accuracy(outputs):
    random = np.random.default_rng(0)
    truth = random.integers(0, 5 if outputs > 1 else 2, 64)
    logits = random.normal(size=(64, outputs)).astype(np.float32)
    probabilities = logits if outputs > 1 else np.hstack([-logits, logits])
    metric = setup.balanced_accuracy(outputs)
    for batch in (slice(0, 40), slice(40, 64)):
        metric.update_state(truth[batch], logits[batch])
    assert float(metric.result()) == pytest.approx(balanced_accuracy(truth, probabilities.argmax(axis=1)))
    metric.reset_state()
    assert float(metric.result()) == 0
