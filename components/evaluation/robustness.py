"""What the shifts of components/evaluation/shifts.py cost a classifier, on the original test images."""

import os
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from components.core.paths import DATA
from components.core.reports.evaluation import ShiftCost
from components.evaluation.predictions import Indices, Scored, difference
from components.evaluation.shifts import SHIFTS
from components.imaging import images
from components.imaging.images import Pixels

BATCH = 32
"""Originals at once: each is held once per shift, at the model's size."""


def under_shifts(
    classify: Callable[[Pixels], NDArray[np.floating]],
    clean: Scored,
    size: int,
    resolution: int | None,
    root: Path = DATA,
    shifts: Collection[str] = tuple(SHIFTS),
) -> dict[str, Scored]:
    """The probabilities of the same images under each shift; an image is decoded once for all.

    Args:
        classify: probabilities (n, outputs) of pixels (n, size, size, 3).
        clean: the images as they are, with their paths under `root`.
        size: side of what the classifier sees, in pixels.
        resolution: the one that pictures are brought to first, in pixels, or None.
        root: folder of the originals.
        shifts: names of the shifts.
    """
    paths: list[str] = clean.images["path"].tolist()
    found: dict[str, list[NDArray[np.floating]]] = {name: [] for name in shifts}
    with (
        tqdm(total=len(paths), desc="test under shifts", unit="image", mininterval=1) as bar,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        for start in range(0, len(paths), BATCH):
            originals = paths[start : start + BATCH]
            views = list(pool.map(lambda path: seen((root / path).read_bytes(), size, resolution, shifts), originals))
            for name, parts in found.items():
                parts.append(classify(np.stack([view[name] for view in views])))
            bar.update(len(originals))
    return {name: replace(clean, probabilities=np.concatenate(parts)) for name, parts in found.items()}


def seen(content: bytes, size: int, resolution: int | None, shifts: Collection[str] = tuple(SHIFTS)) -> dict[str, Pixels]:
    """What the model sees of an image file under each shift: uint8 (size, size, 3)."""
    original = images.decode(content, images.detail(size, resolution))
    return {name: images.fit(images.reduced(SHIFTS[name](original), resolution), size) for name in shifts}


def costs(clean: Scored, shifted: dict[str, Scored], samples: list[Indices], bins: int) -> dict[str, ShiftCost]:
    """Balanced accuracy under each shift, and the drop (clean less shifted) with its paired bootstrap interval over lesions."""
    everything = np.arange(len(clean.images))
    return {
        name: ShiftCost(
            balanced_accuracy=scored.headline("balanced_accuracy", everything, bins),
            drop=difference(clean, scored, "balanced_accuracy", samples, bins),
        )
        for name, scored in shifted.items()
    }
