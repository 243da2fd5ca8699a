"""What both trainings share. Devices are decided on before TensorFlow starts, so those tests run in a process of their own."""

import os
import subprocess
import sys

import numpy as np
import pytest

from components.core.classes import CLASSES, encode_targets
from components.evaluation.metrics import balanced_accuracy
from components.training import setup
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

def fitted(devices):
    keras.utils.set_random_seed(3)
    with setup.distribution_strategy(devices).scope():
        made = keras.Sequential([keras.Input((6,)), keras.layers.Dense(9)])
        rate = setup.warmup_cosine_schedule(0.05, 15, 2)
        setup.compile_classifier("multiclass", made, keras.optimizers.AdamW(rate))
    assert made.distribute_strategy.num_replicas_in_sync == len(devices)
    seen = []
    checkpoint = Checkpoint(Path(sys.argv[1]) / f"{len(devices)}", "one")

    def stopped(epoch, _):
        if epoch == 1 and not seen:
            seen.append(epoch)
            raise InterruptedError

    try:
        loop.train_with_early_stopping(made, data, loop.EarlyStopping(3, 3), stopped, checkpoint)
    except InterruptedError:
        loop.train_with_early_stopping(made, data, loop.EarlyStopping(3, 3), stopped, checkpoint)
    return made.get_weights()

one, two = fitted(["CPU:0"]), fitted(["CPU:0", "CPU:1"])
assert all(np.allclose(a, b, atol=1e-3) for a, b in zip(one, two, strict=True)), (one, two)
"""


def test_two_devices_share_each_batch_and_end_where_one_does(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{TWO_DEVICES}", str(tmp_path)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_full_class_weights_make_every_class_count_the_same_and_none_every_view():
    even, plain = (setup.class_weights(COUNTS, "multiclass", power) for power in (1.0, 0.0))
    sums = [even[CLASSES.index(name)] * count for name, count in COUNTS.items()]
    assert np.allclose(sums, sum(COUNTS.values()) / 3)
    assert {plain[CLASSES.index(name)] for name in COUNTS} == {1.0}
    assert even[CLASSES.index("vascular_lesion")] == plain[CLASSES.index("vascular_lesion")] == 0


@pytest.mark.parametrize("task", ["multiclass", "binary"])
@pytest.mark.parametrize("power", [0.0, 0.25, 0.5, 1.0])
def test_class_weights_are_one_on_average_and_rise_with_rarity(power, task):
    weights = setup.class_weights(COUNTS, task, power)
    of_class = {name: weights[encode_targets([name], task)[0]] for name in COUNTS}
    assert sum(of_class[name] * count for name, count in COUNTS.items()) == pytest.approx(1000)
    rare, common = of_class["basal_cell_carcinoma"], of_class["nevus"]
    assert rare / common == pytest.approx((900 / 10 if task == "multiclass" else 900 / 100) ** power)


@pytest.mark.parametrize("task", ["multiclass", "binary"])
def test_the_balanced_accuracy_watched_in_training_is_the_one_reported(task):
    random = np.random.default_rng(0)
    outputs = 9 if task == "multiclass" else 1
    truth = random.integers(0, 5 if task == "multiclass" else 2, 64)
    logits = random.normal(size=(64, outputs)).astype(np.float32)
    probabilities = logits if task == "multiclass" else np.hstack([-logits, logits])
    metric = setup.balanced_accuracy(task)
    for part in (slice(0, 40), slice(40, 64)):
        metric.update_state(truth[part], logits[part])
    assert float(metric.result()) == pytest.approx(balanced_accuracy(truth, probabilities))
    metric.reset_state()
    assert float(metric.result()) == 0
