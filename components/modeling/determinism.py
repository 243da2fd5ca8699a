"""Seeds all random generators and enables deterministic TensorFlow kernels: equal inputs give bit-identical outputs on one machine."""


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and TensorFlow, and enable deterministic TensorFlow kernels."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
