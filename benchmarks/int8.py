"""Compare ways to make an int8 file: as TFLite's converter rounds, and with rounding that keeps the sums of depthwise filters.

    python -m benchmarks.int8 isic9.zip --weights mobilenet_v2.h5 --seeds 1 2 3

Works in the copy of the project that pipeline.py uses. For each seed the stages run through DVC up to `evaluate`; then the candidate is
converted in each way, and each file predicts all validation and test images. Each row is written as soon as it is measured, and existing
rows are not measured again. Choose by validation; test is only for reporting.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score

from benchmarks import pipeline
from benchmarks.harness import machine, tables
from benchmarks.harness.manifest import claim_results_folder
from components.core.paths import CANDIDATE, MODEL_FILENAME, SHARDS
from components.exporting import int8
from components.exporting.agreement import of_every_output, predicted_class
from components.exporting.int8 import Batches
from components.exporting.tflite import convert_to_tflite, quantize, tflite_predictor
from components.imaging import tfrecords
from components.modeling import serialization
from components.modeling.classifier import inference_function
from components.runtime.params_file import PARAMS_FILE, load
from components.runtime.tensorflow import load_tensorflow
from flows.processes import CommandFailed

if TYPE_CHECKING:
    import keras

NAME = "int8"
EXPORTED_INT8 = "int8, as exported"
FLOAT16 = "float16"
SPLITS = ("validation", "test")
ROUNDS = 200
"""Images whose latency is measured, each with all files in turn."""
WARM_UP = 5
BATCH_SIZE = 16
MEGABYTES = tables.Target(3, most=True)
AGREEMENT = tables.Target(0.95)
ACCURACY_DIFFERENCE = tables.Target(0.01, most=True)
"""Target for the absolute difference of balanced accuracy to Keras."""
SPEED = tables.Target(1.7)
"""Target for the speed relative to float16."""
Row = dict[str, Any]
Predictor = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def main() -> None:
    """Measure missing seeds, and print the tables."""
    given = pipeline.imagenet_arguments(__doc__).parse_args()
    machine.isolate_environment()
    asked = pipeline.imagenet_request(given)
    folder = claim_results_folder(asked, given.name or f"{asked.name}_{NAME}")
    rows: list[Row] = (machine.read(NAME, folder) or {"rows": []})["rows"]
    for seed in given.seeds:
        if missing := [name for name in FILES if not any((row["seed"], row["file"]) == (seed, name) for row in rows)]:
            try:
                root = pipeline.ensure_built(asked, seed, upto="evaluate")
            except CommandFailed as fault:
                raise SystemExit(f"error: {fault}") from None
            for row in measure(root, missing):
                rows.append({"seed": seed, **row})
                write(rows, folder)
    print(f"{write(rows, folder)}\n\nwritten to {folder / NAME}.json and .md")


def write(rows: list[Row], folder: Path) -> str:
    """Write the results and their report, and return the report."""
    rows.sort(key=lambda row: (row["seed"], list(FILES).index(row["file"])))
    text = report(rows)
    machine.write(NAME, {"machine": machine.describe(), "rows": rows}, folder, text)
    return text


def measure(root: Path, names: Sequence[str]) -> Iterator[Row]:
    """Convert the candidate of a project folder to these files, and predict all validation and test images with each."""
    load_tensorflow()
    classifier = serialization.load_classifier(root / CANDIDATE / MODEL_FILENAME)
    count, shards = load(root / PARAMS_FILE).export.calibration_images, root / SHARDS

    def batches() -> Iterator[NDArray[np.uint8]]:
        views = tfrecords.read_views("train", shards).take(count).batch(BATCH_SIZE)
        yield from (batch["pixels"] for batch in views.as_numpy_iterator())

    splits = {split: read_split(split, shards, inference_function(classifier)) for split in SPLITS}
    keras_accuracy = {split: images.balanced_accuracy(images.expected) for split, images in splits.items()}
    float16 = tflite_predictor(FILES[FLOAT16](classifier, batches=batches))
    for name in names:
        content = FILES[name](classifier, batches=batches)
        infer = tflite_predictor(content)
        found = {split: compare(infer, images) for split, images in splits.items()}
        taken = paired_latency(infer, float16, splits["test"].pixels[:ROUNDS])
        yield {"file": name, "bytes": len(content), "images": len(splits["test"].pixels), "keras": keras_accuracy, **found, **taken}


@dataclass(frozen=True)
class Images:
    """The images of a split: pixels, class numbers, and the probabilities that Keras expects."""

    pixels: NDArray[np.uint8]
    classes: NDArray[np.integer]
    expected: NDArray[np.float32]

    def balanced_accuracy(self, probabilities: NDArray[np.float32]) -> float:
        """Balanced accuracy of the classes predicted by these probabilities."""
        return float(balanced_accuracy_score(self.classes, predicted_class(probabilities)))


def read_split(split: str, shards: Path, reference: Callable[[NDArray[np.uint8]], NDArray[np.float32]]) -> Images:
    """The images of a split in the shards."""
    found = list(tfrecords.iter_batches(split, shards))
    pixels, classes = (np.concatenate([batch[name] for batch in found]) for name in ("pixels", "class"))
    return Images(pixels, classes, of_every_output(np.concatenate([reference(batch["pixels"]) for batch in found])))


def nearest(classifier: "keras.Model", batches: Batches) -> bytes:
    """Everything quantized, rounded by the converter to the nearest."""
    return quantize(classifier, batches)


def nearest_partly_float(classifier: "keras.Model", batches: Batches) -> bytes:
    """Rounded by the converter to the nearest; preprocessing, first block and head in float."""
    return quantize(classifier, batches, int8.first_block(classifier))


def sums_kept(classifier: "keras.Model", batches: Batches) -> bytes:
    """Everything quantized, with sum-preserving rounding and corrected biases."""
    return quantize(int8.rounded_copy(classifier, batches, []), batches)


FILES: dict[str, Callable[..., bytes]] = {
    FLOAT16: partial(convert_to_tflite, precision=FLOAT16),
    EXPORTED_INT8: partial(convert_to_tflite, precision="int8"),
    "int8, nearest": nearest,
    "int8, sums kept": sums_kept,
    "int8, nearest, first block and head in float": nearest_partly_float,
    "float32": partial(convert_to_tflite, precision="float32"),
}
"""Function from a classifier and `batches` to the content, for each file that is compared."""


def compare(infer: Predictor, images: Images) -> Row:
    """The agreement of a file with Keras, and its balanced accuracy."""
    probabilities = np.stack([infer(image[None].astype(np.float32)) for image in images.pixels])
    return {
        "same_top1": float((predicted_class(probabilities) == predicted_class(images.expected)).mean()),
        "balanced_accuracy": images.balanced_accuracy(probabilities),
        "mean_probability_difference": float(np.abs(probabilities - images.expected).mean()),
        "largest_probability_difference": float(np.abs(probabilities - images.expected).max()),
    }


def paired_latency(infer: Predictor, float16: Predictor, pixels: NDArray[np.uint8]) -> dict[str, float]:
    """Median milliseconds of a file for one image on one thread, and the median of float16's time over its own for the same image.

    Processor time of the thread: other processes on the machine lengthen it little.
    """
    taken: list[tuple[float, float]] = []
    for number in range(-WARM_UP, len(pixels)):
        image = pixels[number][None].astype(np.float32)
        start = time.thread_time()
        infer(image)
        between = time.thread_time()
        float16(image)
        if number >= 0:
            taken.append((between - start, time.thread_time() - between))
    own, other = np.array(taken).T
    return {"median_ms": 1000 * float(np.median(own)), "speed": float(np.median(other / own))}


def report(rows: Sequence[Row]) -> str:
    """A table of all files, and the exported int8 file against its targets, over all seeds."""
    first = [row for row in rows if row["file"] == rows[0]["file"]]
    seeds, images = (", ".join(str(row[key]) for row in first) for key in ("seed", "images"))
    keras = tables.mean_with_interval([row["keras"]["test"] for row in first])
    head = ["file", "agreement, validation", "agreement, test", "balanced accuracy, test", "MB", "ms", "speed, float16 is 1"]
    lines = [_line(name, [row for row in rows if row["file"] == name]) for name in dict.fromkeys(row["file"] for row in rows)]
    intro = f"Seeds {seeds}: {images} test images. Keras has a balanced accuracy of {keras} on test. Agreement: same class as Keras."
    exported = [row for row in rows if row["file"] == EXPORTED_INT8]
    return "\n\n".join([intro, tables.table(head, lines), *([targets(exported)] if exported else [])])


def _line(name: str, rows: Sequence[Row]) -> list[str]:
    mean = tables.mean_with_interval
    agreement = [mean([row[split]["same_top1"] for row in rows]) for split in SPLITS]
    accuracy, size = mean([row["test"]["balanced_accuracy"] for row in rows]), mean([row["bytes"] / 1e6 for row in rows], 2)
    return [name, *agreement, accuracy, size, mean([row["median_ms"] for row in rows], 1), mean([row["speed"] for row in rows], 2)]


def targets(rows: Sequence[Row]) -> str:
    """The exported int8 file of each seed against its targets: the worst seed counts."""
    differences = [abs(row["test"]["balanced_accuracy"] - row["keras"]["test"]) for row in rows]
    worst = (
        ("agreement, test", AGREEMENT, min(row["test"]["same_top1"] for row in rows), 3),
        ("difference of balanced accuracy to Keras", ACCURACY_DIFFERENCE, max(differences), 3),
        ("MB", MEGABYTES, max(row["bytes"] / 1e6 for row in rows), 2),
        ("speed, float16 is 1", SPEED, min(row["speed"] for row in rows), 2),
    )
    lines = [[name, f"{value:.{digits}f}", str(target), target.verdict(value)] for name, target, value, digits in worst]
    return tables.table([f"{EXPORTED_INT8}, worst seed", "value", "target", ""], lines)


if __name__ == "__main__":
    main()
