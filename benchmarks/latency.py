"""Measure the latency of one image: Keras' `predict`, the same model as a traced function, and its TFLite exports on one thread.

Run `dvc repro` first, then this from the project's root: it takes the candidate and the exports of build/.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.harness import machine, tables
from components.core.paths import CANDIDATE, EXPORTED, MODEL_FILENAME
from components.exporting.tflite import PRECISIONS, file_name, tflite_predictor
from components.imaging import tfrecords
from components.modeling import serialization
from components.modeling.classifier import inference_function
from components.runtime.tensorflow import load_tensorflow

NAME = "latency"
KERAS = "Keras, predict"
WARM = 5


def main() -> None:
    """Measure, print a table, and write it under benchmarks/results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rounds", type=int, default=200, metavar="N", help="number of images; each is measured with all models (default: %(default)s)"
    )
    given = parser.parse_args()
    described = machine.describe()
    load_tensorflow()
    classifier = serialization.load_classifier(CANDIDATE / MODEL_FILENAME)
    ways: dict[str, Callable[[Any], object]] = {
        KERAS: lambda pixels: classifier.predict(pixels, verbose=0),
        "Keras, compiled once": inference_function(classifier),
    }
    for precision in PRECISIONS:
        path = EXPORTED / file_name(precision)
        if path.exists():  # a file that differs too much from Keras is not written
            ways[f"TFLite {precision}"] = tflite_predictor(path.read_bytes())
    images = [batch["pixels"].astype(np.float32) for batch in tfrecords.read_views("test").batch(1).take(given.rounds).as_numpy_iterator()]
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(-WARM, given.rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way(images[number % len(images)])
            if number >= 0:
                taken[name].append(1000 * (time.perf_counter() - start))
    spread = {
        name: dict(zip(("low", "median", "high"), map(float, np.percentile(ms, (10, 50, 90))), strict=True)) for name, ms in taken.items()
    }
    document = {"machine": described, "rounds": given.rounds, "milliseconds": spread}
    path = machine.write(NAME, document)
    print(f"{report(document)}\n\nwritten to {path}")


def report(document: dict[str, Any]) -> str:
    """The results as a table."""
    found: dict[str, dict[str, float]] = document["milliseconds"]
    keras = found[KERAS]["median"]
    rows = [
        [name, f"{ms['median']:.2f}", f"{ms['low']:.2f} to {ms['high']:.2f}", f"{ms['median'] / keras:.3f}"] for name, ms in found.items()
    ]
    head = ["one image", "median ms", "10th to 90th percentile", "of Keras' predict"]
    return f"{document['rounds']} images, each through all in turn, on {document['machine']}.\n\n{tables.table(head, rows)}"


if __name__ == "__main__":
    main()
