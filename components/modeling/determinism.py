"""Seeds all random generators and enables deterministic TensorFlow kernels: equal inputs give bit-identical outputs on one machine."""

import random


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy, Keras and TensorFlow, and enable deterministic TensorFlow kernels."""
    import keras
    import tensorflow as tf
    from keras.src.random import seed_generator

    keras.utils.set_random_seed(seed)
    # Keras draws the seeds of layers from Python's global generator, from which the other threads of a Dask worker draw too. It gets one of
    # its own, which draws the same.
    seed_generator.python_random = random.Random(seed)
    tf.config.experimental.enable_op_determinism()
