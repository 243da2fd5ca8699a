"""Several devices are used where they are there; what they are is decided before TensorFlow starts, so in a process of its own."""

import os
import subprocess
import sys

from tests.project import ROOT

TWO_DEVICES = """
import numpy as np
import tensorflow as tf
import keras
from pathlib import Path
from components import fitting
from components.checkpoint import Checkpoint

processor = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
assert fitting.strategy().num_replicas_in_sync == 1
assert fitting.strategy(["CPU:0"]).num_replicas_in_sync == 1
random = np.random.default_rng(0)
features, target = random.normal(size=(64, 6)).astype(np.float32), random.integers(0, 9, 64)
views = tf.data.Dataset.from_tensor_slices((features, target, np.ones(64, np.float32))).batch(16)

def fitted(devices):
    keras.utils.set_random_seed(3)
    with fitting.strategy(devices).scope():
        made = keras.Sequential([keras.Input((6,)), keras.layers.Dense(9)])
        rate = fitting.falling_rate(0.05, 20, 2)
        fitting.compile_for("multiclass", made, keras.optimizers.AdamW(rate))
    assert made.distribute_strategy.num_replicas_in_sync == len(devices)
    seen = []
    checkpoint = Checkpoint(Path(sys.argv[1]) / f"{len(devices)}", "one")

    def stopped(epoch, _):
        if epoch == 1 and not seen:
            seen.append(epoch)
            raise InterruptedError

    try:
        fitting.fit(made, lambda epoch: views, views, 4, 4, stopped, checkpoint)
    except InterruptedError:
        fitting.fit(made, lambda epoch: views, views, 4, 4, stopped, checkpoint)
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
