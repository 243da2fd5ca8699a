"""Make the candidate light enough for a phone: TFLite in float16 and int8, each checked against the Keras model.

Reads build/candidate/ and build/shards/. Writes build/export/ and reports/export.json.
"""

import os
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from components.core.files import atomic_write
from components.core.paths import CANDIDATE, EXPORT_REPORT, EXPORTED, MODEL_FILENAME
from components.core.reports.export import ExportedModel, ExportReport
from components.imaging import tfrecords
from components.modeling import serialization
from components.modeling.classifier import inference_function
from components.modeling.determinism import seed_everything
from components.runtime.params import Settings
from components.runtime.params_file import load
from components.runtime.stage import run
from components.runtime.tensorflow import silence_stream

if TYPE_CHECKING:
    import keras

WARM_UP = 5


def calibration_views(count: int) -> Iterator[list[NDArray[np.float32]]]:
    """The first training views of the shards, whose order is random, one a time as the converter wants them."""
    views = tfrecords.read_views("train").take(count).as_numpy_iterator()
    for view in tqdm(views, total=count, desc="calibrating int8", unit="view", mininterval=1):
        yield [view["pixels"][None].astype(np.float32)]


def convert_to_tflite(
    classifier: "keras.Model", precision: str, representative: Callable[[], Iterator[list[NDArray[np.float32]]]]
) -> bytes:
    """The classifier as a TFLite model with float32 inputs and outputs.

    Args:
        classifier: the candidate.
        precision: "float16", weights only; or "int8", weights and activations.
        representative: views from which the ranges of int8 activations are read.
    """
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(classifier)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    else:
        converter.representative_dataset = representative
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    with warnings.catch_warnings(), silence_stream(1), silence_stream(2):  # the converter prints the model's signature and its flags
        warnings.simplefilter("ignore", UserWarning)
        return bytes(converter.convert())


def tflite_predictor(content: bytes, threads: int = 1) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """A function from one image (1, size, size, 3) to its probabilities."""
    import tensorflow as tf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        engine = tf.lite.Interpreter(model_content=content, num_threads=threads)
    engine.allocate_tensors()
    source, target = engine.get_input_details()[0]["index"], engine.get_output_details()[0]["index"]

    def infer(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        engine.set_tensor(source, pixels)
        engine.invoke()
        return np.array(engine.get_tensor(target)[0])

    return infer


def predicted_class(probabilities: NDArray[np.floating]) -> NDArray[np.int64]:
    """Predicted output; with one sigmoid, whether it is at least one half."""
    if probabilities.shape[1] == 1:
        return (probabilities[:, 0] >= 0.5).astype(np.int64)
    return np.asarray(probabilities.argmax(axis=1), dtype=np.int64)


def latency_ms(infer: Callable[[NDArray[np.float32]], Any], pixels: NDArray[np.float32], runs: int) -> float:
    """Median milliseconds for one image, after a warm-up."""
    for _ in range(WARM_UP):
        infer(pixels)
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        infer(pixels)
        taken.append(time.perf_counter() - start)
    return float(np.median(taken) * 1000)


def compare_predictions(content: bytes, expected: NDArray[np.floating], precision: str, latency_runs: int) -> ExportedModel:
    """A TFLite model against the Keras model's probabilities of all test images, `expected`, and its latency."""
    infer = tflite_predictor(content, os.cpu_count() or 1)
    images = (pixels[None].astype(np.float32) for batch in tfrecords.iter_batches("test") for pixels in batch["pixels"])
    found = np.stack([infer(pixels) for pixels in tqdm(images, total=len(expected), desc=precision, unit="image", mininterval=1)])
    first = next(islice(tfrecords.iter_batches("test", batch_size=1), 1))["pixels"].astype(np.float32)
    return ExportedModel(
        bytes=len(content),
        same_top1=float((predicted_class(found) == predicted_class(expected)).mean()),
        largest_probability_difference=float(np.abs(found - expected).max()),
        mean_probability_difference=float(np.abs(found - expected).mean()),
        median_latency_ms=latency_ms(tflite_predictor(content), first, latency_runs),
    )


def export(settings: Settings) -> None:
    """Run the stage."""
    params = settings.export
    seed_everything(settings.seed)
    classifier = serialization.load_classifier(CANDIDATE / MODEL_FILENAME)
    reference = inference_function(classifier)
    expected = np.concatenate([reference(batch["pixels"]) for batch in tfrecords.iter_batches("test")])
    exported: dict[str, ExportedModel] = {}
    with atomic_write(EXPORTED) as draft:
        draft.mkdir()
        for precision in ("float16", "int8"):
            content = convert_to_tflite(classifier, precision, lambda: calibration_views(params.calibration_images))
            (draft / f"model_{precision}.tflite").write_bytes(content)
            exported[precision] = compare_predictions(content, expected, precision, params.latency_runs)
    report = ExportReport(float16=exported["float16"], int8=exported["int8"], test_images=len(expected))
    report.write(EXPORT_REPORT)
    for precision, row in report.precisions.items():
        speed = f"{row.median_latency_ms:.1f} ms an image on one thread"
        print(f"{precision}: {row.bytes / 1e6:.2f} MB, same top-1 {row.same_top1:.3f}, {speed}")


if __name__ == "__main__":
    run(lambda: export(load()), __doc__, tensorflow=True)
