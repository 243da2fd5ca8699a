"""Converts a classifier to TFLite in float32, float16 or int8, or for a server, and runs a TFLite file."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from components.core.paths import SERVER_NETWORK
from components.exporting import int8
from components.exporting.int8 import Batches
from components.runtime.streams import silence_stream

if TYPE_CHECKING:
    import keras

SERVER = "server"
"""The file for a server: float32, with features and maps beside the probabilities."""
PRECISIONS = ("float32", "float16", "int8", SERVER)
PROBABILITIES, POOLED, MAPS = "probabilities", "features", "maps"
"""Names of the outputs in the signature of the file for a server."""


def file_name(precision: str) -> str:
    """Name of a precision's file in build/export/."""
    return SERVER_NETWORK.name if precision == SERVER else f"model_{precision}.tflite"


def convert_to_tflite(classifier: "keras.Model", precision: str, batches: Batches) -> bytes:
    """The classifier as a TFLite model with float32 inputs and outputs, and a probability for each class (`with_every_output`). The file
    for a server has the outputs of `server_network`.

    Args:
        classifier: the candidate.
        precision: one of PRECISIONS. float16 concerns weights only, int8 weights and activations.
        batches: views from which the ranges of int8 activations and the corrections of int8 biases are read.
    """
    if precision == SERVER:
        return _convert_to_float(server_network(classifier), "float32")
    if precision != "int8":
        return _convert_to_float(classifier, precision)
    in_float = int8.first_block(classifier)
    if not in_float:  # no depthwise convolution
        return quantize(classifier, batches)
    return quantize(int8.rounded_copy(classifier, batches, in_float), batches, in_float)


def with_every_output(classifier: "keras.Model") -> "keras.Model":
    """A model that gives the probability of each class: with one sigmoid, the probabilities of both.

    MediaPipe and ML Kit take the values of a classifier's output for its classes, one label each.
    """
    import keras

    if len(classifier.outputs) > 1 or classifier.outputs[0].shape[-1] != 1:
        return classifier
    second = classifier.outputs[0]
    first = keras.layers.Rescaling(-1.0, offset=1.0, name="first")(second)
    return keras.Model(classifier.input, keras.layers.Concatenate(name="both")([first, second]))


def server_network(classifier: "keras.Model") -> "keras.Model":
    """The classifier with three outputs: its probabilities (n, logits), the pooled features (n, width) that the head sees, and the maps
    (n, height, width, channels) that are pooled. Layers are shared."""
    import keras

    pooling = classifier.get_layer("features")
    outputs = {PROBABILITIES: classifier.output, POOLED: pooling.output, MAPS: pooling.input}
    return keras.Model(classifier.input, outputs, name="server")


def _convert_to_float(classifier: "keras.Model", precision: str) -> bytes:
    import tensorflow as tf

    with _silence():
        converter = tf.lite.TFLiteConverter.from_keras_model(with_every_output(classifier))
        if precision == "float16":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        return bytes(converter.convert())


def quantize(classifier: "keras.Model", batches: Batches, in_float: Sequence[str] = ()) -> bytes:
    """Quantize weights and activations as TFLite's converter does.

    Args:
        classifier: what to convert.
        batches: views from which the ranges of the activations are read.
        in_float: names of the base's first layers, which stay in float with preprocessing and head; empty to quantize everything.
    """
    import tensorflow as tf

    def views() -> Iterator[list[NDArray[np.float32]]]:
        return int8.as_converter_input(batches)

    with _silence():
        converter = tf.lite.TFLiteConverter.from_keras_model(with_every_output(classifier))
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = views
        if not in_float:
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            return bytes(converter.convert())
        # TensorFlow has no other public way to leave operators out of quantization
        quantizer = tf.lite.experimental.QuantizationDebugger(converter=converter, debug_dataset=views)
        kept = int8.float_tensors(operator_outputs(quantizer.calibrated_model), in_float)
        quantizer.options = tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=kept)
        return bytes(quantizer.get_nondebug_quantized_model())


@contextmanager
def _silence() -> Iterator[None]:
    """Hide what the converter prints: the model's signature, its flags, and warnings."""
    with warnings.catch_warnings(), silence_stream(1), silence_stream(2):
        warnings.simplefilter("ignore", UserWarning)
        yield


def operator_outputs(content: bytes) -> list[str]:
    """Name of the first output of each operator of a TFLite file, in order."""
    from tensorflow.lite.python import schema_py_generated as schema

    graph = schema.Model.GetRootAs(content, 0).Subgraphs(0)
    operators = (graph.Operators(number) for number in range(graph.OperatorsLength()))
    return [graph.Tensors(operator.Outputs(0)).Name().decode("utf-8") for operator in operators]


def tflite_predictor(content: bytes, threads: int = 1) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """A function from one image (1, size, size, 3) to its probabilities."""
    from ai_edge_litert.interpreter import Interpreter

    with silence_stream(2):
        engine = Interpreter(model_content=content, num_threads=threads)
        engine.allocate_tensors()
    source, target = engine.get_input_details()[0]["index"], _probabilities_tensor(engine)

    def infer(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        engine.set_tensor(source, pixels)
        engine.invoke()
        return np.array(engine.get_tensor(target)[0])

    return infer


def _probabilities_tensor(engine: Any) -> int:
    """Index of the tensor with the probabilities: the only output, or the one of that name."""
    outputs = engine.get_output_details()
    found = outputs[0] if len(outputs) == 1 else engine.get_signature_runner().get_output_details()[PROBABILITIES]
    return int(found["index"])
