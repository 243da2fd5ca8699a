"""Evaluates a classifier under the shifts of components/evaluation/shifts.py, applied to the original test images."""

import os
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from components.core.paths import DATA
from components.core.reports.evaluation import ShiftResult
from components.evaluation.predictions import Indices, Predictions, paired_difference
from components.evaluation.shifts import SHIFTS
from components.imaging import images
from components.imaging.images import Pixels
from components.imaging.model_input import ModelInput

Classify = Callable[[Pixels], tuple[NDArray[np.floating], NDArray[np.int64]]]
"""A function from pixels (n, size, size, 3) to probabilities (n, outputs) and the position of the named output (n,)."""
BATCH = 32
"""Original images per batch; each is in memory once per shift, at the model's input size."""


def predict_under_shifts(
    classify: Classify,
    clean: Predictions,
    model_input: ModelInput,
    root: Path = DATA,
    shifts: Collection[str] = tuple(SHIFTS),
) -> dict[str, Predictions]:
    """Predict the same images under each shift; each image is decoded once.

    Args:
        classify: the classifier.
        clean: predictions of the original images, with their paths under `root`.
        model_input: the classifier's input.
        root: folder of the original images.
        shifts: names of the shifts.
    """
    paths: list[str] = clean.images["path"].tolist()
    answers: dict[str, list[tuple[NDArray[np.floating], NDArray[np.int64]]]] = {name: [] for name in shifts}
    with (
        tqdm(total=len(paths), desc="test under shifts", unit="image", mininterval=1) as bar,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        for start in range(0, len(paths), BATCH):
            batch = paths[start : start + BATCH]
            views = list(pool.map(lambda path: shifted_views((root / path).read_bytes(), model_input, shifts), batch))
            for name, parts in answers.items():
                parts.append(classify(np.stack([view[name] for view in views])))
            bar.update(len(batch))
    joined = {name: [np.concatenate(parts) for parts in zip(*batches, strict=True)] for name, batches in answers.items()}
    return {name: replace(clean, probabilities=probabilities, named=named) for name, (probabilities, named) in joined.items()}


def shifted_views(content: bytes, model_input: ModelInput, shifts: Collection[str] = tuple(SHIFTS)) -> dict[str, Pixels]:
    """The model's input for an image file under each shift: uint8 (size, size, 3)."""
    size, resolution = model_input.size, model_input.resolution
    original = images.decode(content, images.required_detail(size, resolution))
    return {name: images.center_square_resize(images.downsample_to(SHIFTS[name](original), resolution), size) for name in shifts}


def shift_drops(clean: Predictions, shifted: dict[str, Predictions], samples: list[Indices], bins: int) -> dict[str, ShiftResult]:
    """Balanced accuracy under each shift, and the drop (clean minus shifted) with its paired bootstrap interval over lesions."""
    everything = np.arange(len(clean.images))
    return {
        name: ShiftResult(
            balanced_accuracy=scored.headline("balanced_accuracy", everything, bins),
            drop=paired_difference(clean, scored, "balanced_accuracy", samples, bins),
        )
        for name, scored in shifted.items()
    }
