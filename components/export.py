"""Make the candidate light enough for a phone and ready for a server: TFLite files, each checked against the Keras model.

Reads build/candidate/ and build/shards/. Writes reports/export.json and build/export/, without the files that differ too much from Keras:
float32, float16 and int8 with one output each, and server.tflite, float32 with features and maps beside the probabilities.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from components.core.files import atomic_write
from components.core.paths import CANDIDATE, EXPORT_REPORT, EXPORTED, MODEL_FILENAME
from components.core.reports.export import ExportedModel, ExportReport
from components.exporting.agreement import compare_with_keras
from components.exporting.tflite import PRECISIONS, convert_to_tflite, file_name
from components.imaging import tfrecords
from components.modeling import serialization
from components.modeling.classifier import inference_function
from components.modeling.determinism import seed_everything
from components.runtime.params import Export, Settings
from components.runtime.params_file import load
from components.runtime.stage import run

if TYPE_CHECKING:
    import keras

BATCH_SIZE = 16


def calibration_batches(count: int) -> Iterator[NDArray[np.uint8]]:
    """The first training views of the shards, whose order is random, in batches."""
    views = tfrecords.read_views("train").take(count).batch(BATCH_SIZE).as_numpy_iterator()
    for batch in tqdm(views, total=-(-count // BATCH_SIZE), desc="calibrating int8", unit="batch", mininterval=1):
        yield batch["pixels"]


def export_classifier(classifier: "keras.Model", folder: Path, params: Export) -> ExportReport:
    """Convert the classifier to every kind of file, and write to the folder the files that agree with it on the test images."""
    reference = inference_function(classifier)
    expected = np.concatenate([reference(batch["pixels"]) for batch in tfrecords.iter_batches("test")])
    rows: dict[str, ExportedModel] = {}
    for precision in PRECISIONS:
        content = convert_to_tflite(classifier, precision, lambda: calibration_batches(params.calibration_images))
        rows[precision] = compare_with_keras(content, expected, precision, params)
        if rows[precision].written:
            (folder / file_name(precision)).write_bytes(content)
    float32, float16, int8, server = (rows[precision] for precision in PRECISIONS)
    return ExportReport(float16=float16, float32=float32, int8=int8, server=server, test_images=len(expected))


def export(settings: Settings) -> None:
    """Run the stage."""
    seed_everything(settings.seed)
    classifier = serialization.load_classifier(CANDIDATE / MODEL_FILENAME)
    with atomic_write(EXPORTED) as draft:
        draft.mkdir()
        report = export_classifier(classifier, draft, settings.export)
    report.write(EXPORT_REPORT)
    for precision, row in report.precisions.items():
        speed = f"{row.median_latency_ms:.1f} ms an image on one thread"
        print(f"{precision}: {row.bytes / 1e6:.2f} MB, same top-1 {row.same_top1:.3f}, {speed}")
        if row.reason:
            print(f"warning: {row.reason}")


if __name__ == "__main__":
    run(lambda: export(load()), __doc__, tensorflow=True)
