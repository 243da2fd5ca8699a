"""Compares a TFLite file with the Keras model on the test images, and says why a file that differs too much is not written."""

import os
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from components.core.reports.export import ExportedModel
from components.exporting.tflite import SERVER, tflite_predictor
from components.imaging import tfrecords
from components.runtime.params import Export

WARM_UP = 5
FLOAT32_TOLERANCE = 1e-4
"""Largest difference of a probability between a float32 file and Keras, which compute the same in another order."""
IN_FLOAT32 = ("float32", SERVER)


def compare_with_keras(content: bytes, expected: NDArray[np.floating], precision: str, params: Export) -> ExportedModel:
    """The agreement of a TFLite model with the Keras model's probabilities of all test images, `expected`, and its latency."""
    expected = of_every_output(expected)
    infer = tflite_predictor(content, os.cpu_count() or 1)
    images = (pixels[None].astype(np.float32) for batch in tfrecords.iter_batches("test") for pixels in batch["pixels"])
    found = of_every_output(
        np.stack([infer(pixels) for pixels in tqdm(images, total=len(expected), desc=precision, unit="image", mininterval=1)])
    )
    first = next(islice(tfrecords.iter_batches("test", batch_size=1), 1))["pixels"].astype(np.float32)
    measured = ExportedModel(
        bytes=len(content),
        same_top1=float((predicted_class(found) == predicted_class(expected)).mean()),
        largest_probability_difference=float(np.abs(found - expected).max()),
        mean_probability_difference=float(np.abs(found - expected).mean()),
        median_latency_ms=latency_ms(tflite_predictor(content), first, params.latency_runs),
        written=True,
    )
    reason = reason_not_to_write(precision, measured, params)
    return measured if reason is None else measured.model_copy(update={"written": False, "reason": reason})


def reason_not_to_write(precision: str, measured: ExportedModel, params: Export) -> str | None:
    """Why a file should not be used, or None: in float32 it must give the probabilities of Keras, otherwise its predicted classes."""
    if precision in IN_FLOAT32:
        difference = measured.largest_probability_difference
        if difference <= FLOAT32_TOLERANCE:
            return None
        return f"{precision} TFLite is not written: a probability differs by {difference:.1e} from Keras, more than {FLOAT32_TOLERANCE:.0e}"
    name = f"min_{precision}_agreement"
    floor: float = getattr(params, name)
    if measured.same_top1 >= floor:
        return None
    return (
        f"{precision} TFLite is not written: it predicts the same class as Keras for only {measured.same_top1:.3f} of test images,"
        f" below {floor:.3f} (export.{name})"
    )


def of_every_output(probabilities: NDArray[np.floating]) -> NDArray[np.floating]:
    """Probability of each output, shape (n, outputs), as a TFLite file gives it: one sigmoid is the probability of the second of two."""
    return np.concatenate([1 - probabilities, probabilities], axis=1) if probabilities.shape[1] == 1 else probabilities


def predicted_class(probabilities: NDArray[np.floating]) -> NDArray[np.int64]:
    """Position of the likeliest output."""
    return np.asarray(of_every_output(probabilities).argmax(axis=1), dtype=np.int64)


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
