"""Training setup: class weights, learning-rate schedule, loss, metrics and devices."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


def class_weights(counts: Mapping[str, int], outputs: Sequence[str], power: float = 1.0) -> dict[int, float]:
    """Weight of each target: a power of its inverse frequency, with mean 1 over the views (King and Zeng 2001).

    Args:
        counts: views of each output.
        outputs: the outputs in order; a target is a position among them.
        power: 0 to 1. With 1 all classes have the same total weight, with 0 all views have the same weight.
    """
    per_target = {target: counts.get(name, 0) for target, name in enumerate(outputs)}
    raised = {target: count**-power if count else 0.0 for target, count in per_target.items()}
    mean = sum(raised[target] * count for target, count in per_target.items()) / sum(per_target.values())
    return {target: weight / mean for target, weight in raised.items()}


def warmup_cosine_schedule(rate: float, steps: int, warmup_steps: int = 0) -> "keras.optimizers.schedules.LearningRateSchedule":
    """Linear warmup to `rate`, then cosine decay to zero over the remaining steps (Loshchilov and Hutter 2017)."""
    import keras

    if warmup_steps:
        return keras.optimizers.schedules.CosineDecay(0.0, max(1, steps - warmup_steps), warmup_target=rate, warmup_steps=warmup_steps)
    return keras.optimizers.schedules.CosineDecay(rate, steps)


def compile_classifier(model: "keras.Model", optimizer: "keras.optimizers.Optimizer", steps_per_execution: int = 1) -> None:
    """Compile a model that outputs logits, with weighted cross-entropy as loss and unweighted balanced accuracy as metric.

    `steps_per_execution`: steps that TensorFlow takes at a time, which saves time where a step is short and changes no result.
    """
    import keras

    loss: keras.losses.Loss
    if (logits := model.output_shape[-1]) == 1:
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
    else:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    metrics = [balanced_accuracy(logits)]
    # XLA is slower on CPUs, and Keras disables it anyway with the deterministic kernels that the stages enable.
    model.compile(optimizer=optimizer, loss=loss, metrics=metrics, jit_compile=False, steps_per_execution=steps_per_execution)


def balanced_accuracy(logits: int) -> "keras.metrics.Metric":
    """Mean recall over the classes that occur, from this number of logits (one for two classes); Keras has no such metric."""
    import keras
    from keras import ops

    classes = max(2, logits)

    class BalancedAccuracy(keras.metrics.Metric):
        def __init__(self) -> None:
            super().__init__(name="balanced_accuracy")
            self._found, self._seen = (self.add_variable((classes,), "zeros", name=name) for name in ("found", "seen"))

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: None = None) -> None:  # noqa: ARG002 (Keras names it)
            predicted = ops.argmax(y_pred, axis=-1) if logits > 1 else ops.reshape(y_pred, (-1,)) > 0
            truth = ops.cast(ops.reshape(y_true, (-1,)), "int32")
            of_class = ops.one_hot(truth, classes)
            self._seen.assign_add(ops.sum(of_class, axis=0))
            self._found.assign_add(ops.sum(of_class * ops.cast(ops.cast(predicted, "int32") == truth, "float32")[:, None], axis=0))

        def result(self) -> Any:
            recalls = ops.divide_no_nan(self._found, self._seen)
            return ops.sum(recalls) / ops.maximum(ops.sum(ops.cast(self._seen > 0, "float32")), 1)

    return BalancedAccuracy()


def distribution_strategy(devices: Sequence[str] | None = None) -> "tf.distribute.Strategy":
    """Distribution strategy: data parallel over all devices if there are several.

    Args:
        devices: TensorFlow's device names; default: all visible GPUs.
    """
    import tensorflow as tf

    if devices is None:
        devices = [device.name for device in tf.config.list_logical_devices("GPU")]
    return tf.distribute.MirroredStrategy(devices) if len(devices) > 1 else tf.distribute.get_strategy()
