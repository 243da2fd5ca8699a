"""Seeds all random generators and enables deterministic TensorFlow kernels: equal inputs give bit-identical outputs on one machine."""

import random


def seed_everything(seed: int) -> None:
    """Seed all random generators, and enable deterministic TensorFlow kernels."""
    import tensorflow as tf

    seed_generators(seed)
    tf.config.experimental.enable_op_determinism()


def seed_generators(seed: int) -> None:
    """Seed Python, NumPy, TensorFlow and Keras.

    Keras draws the seeds of layers from Python's global generator, from which the other threads of a Dask worker draw too. Here it gets one
    of its own, which draws the same; `keras.utils.set_random_seed` alone does not seed that one.
    """
    import keras
    from keras.src.random import seed_generator

    keras.utils.set_random_seed(seed)
    seed_generator.python_random = random.Random(seed)
