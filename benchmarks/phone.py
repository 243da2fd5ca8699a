"""Compare MediaPipe with a phone package's own example, by the picture that it is fed: a square of two kinds, or the photograph.

    lesionflow export --to phone
    python -m benchmarks.phone phone

Predicts the test images in build/splits.parquet, from data/, with one view each. Needs MediaPipe (extra `phone`).
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from benchmarks.harness import machine, tables
from components.core.paths import DATA, SPLITS
from components.phone import example

NAME = "phone"
SQUARE, PLAIN, PHOTOGRAPH = "square of the example", "square of plain means", "photograph"


def main() -> None:
    """Measure, write the results and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path, metavar="PACKAGE", help="a folder that `lesionflow export` wrote")
    parser.add_argument("--network", default="model_float32.tflite", help="a TFLite file of the package (default: %(default)s)")
    given = parser.parse_args()
    contract = json.loads((given.package / example.CONTRACT).read_text(encoding="utf-8"))
    images = pd.read_parquet(SPLITS).query("side == 'test'")
    found = predictions((given.package / given.network).read_bytes(), contract, [DATA / path for path in images["path"]])
    document = {
        "images": len(images),
        "network": given.network,
        **{fed: agreement(found[fed], found[NAME]) for fed in (SQUARE, PLAIN, PHOTOGRAPH)},
    }
    path = machine.write(NAME, document)
    print(f"{report(document)}\n\nwritten to {path}")


def predictions(network: bytes, contract: dict[str, Any], paths: list[Path]) -> dict[str, NDArray[np.float64]]:
    """Probabilities (images, classes) by MediaPipe, fed SQUARE, PLAIN and PHOTOGRAPH, and as NAME by the example of the package."""
    from ai_edge_litert.interpreter import Interpreter
    from mediapipe.tasks.python import BaseOptions, vision

    size, resolution = contract["input"]["size"], contract["input"]["resolution"]
    engine = Interpreter(model_content=network)
    engine.allocate_tensors()
    found: dict[str, list[NDArray[np.float64]]] = {NAME: [], SQUARE: [], PLAIN: [], PHOTOGRAPH: []}
    options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_buffer=network))
    with vision.ImageClassifier.create_from_options(options) as classifier:
        classify = classified_by(classifier)
        for path in tqdm(paths, unit="image", mininterval=1):
            content = path.read_bytes()
            square = example.prepare(content, size, resolution)
            found[NAME].append(example.run(engine, square))
            found[SQUARE].append(classify(square))
            with Image.open(path) as opened:
                photograph = opened.convert("RGB")
            found[PLAIN].append(classify(plain_square(photograph, size, resolution)))
            found[PHOTOGRAPH].append(classify(np.asarray(photograph)))
    return {fed: np.stack(rows) for fed, rows in found.items()}


def plain_square(photograph: Image.Image, size: int, resolution: int | None) -> NDArray[np.uint8]:
    """The centered square as platforms without Pillow make it: each pixel the mean of those that it covers, then a bilinear resize."""
    side = min(photograph.size)
    left, top = (photograph.width - side) // 2, (photograph.height - side) // 2
    square = photograph.crop((left, top, left + side, top + side))
    least = min(side, resolution or size)
    return np.asarray(square.resize((least, least), Image.Resampling.BOX).resize((size, size), Image.Resampling.BILINEAR))


def classified_by(classifier: Any) -> Callable[[NDArray[np.uint8]], NDArray[np.float64]]:
    """A function from RGB pixels to the probabilities that MediaPipe's classifier gives, in the order of the classes."""
    from mediapipe import Image as MediaPipeImage
    from mediapipe import ImageFormat

    def classify(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        result = classifier.classify(MediaPipeImage(image_format=ImageFormat.SRGB, data=np.ascontiguousarray(pixels)))
        categories = sorted(result.classifications[0].categories, key=lambda category: category.index)
        return np.array([category.score for category in categories])

    return classify


def agreement(found: NDArray[np.float64], expected: NDArray[np.float64]) -> dict[str, float]:
    """How often the likeliest class is the same, and how far the probabilities differ."""
    difference = np.abs(found - expected)
    return {
        "same_top1": float((found.argmax(axis=1) == expected.argmax(axis=1)).mean()),
        "mean_probability_difference": float(difference.mean()),
        "largest_probability_difference": float(difference.max()),
    }


def report(document: dict[str, Any]) -> str:
    """The results as a table."""
    rows = [
        [fed, f"{row['same_top1']:.3f}", f"{row['mean_probability_difference']:.4f}", f"{row['largest_probability_difference']:.4f}"]
        for fed, row in document.items()
        if isinstance(row, dict)
    ]
    head = ["MediaPipe is fed", "same class", "mean difference", "largest difference"]
    return f"{document['images']} test images, {document['network']}.\n\n{tables.table(head, rows)}"


if __name__ == "__main__":
    main()
