"""Whether the same picture gets the same answer when it is mirrored, turned, moved by a pixel or compressed again.

Maron et al. 2021 (doi:10.1016/j.ejca.2020.11.020) and Young et al. 2021 (doi:10.1038/s41746-020-00380-6) count changed diagnoses; the
limits of agreement are those of Bland and Altman 1999 (doi:10.1177/096228029900800204), as Lemay et al. 2022 report them
(doi:10.1038/s41746-022-00709-3).
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from components.core import decision
from components.core.paths import DATA
from components.core.reports.clinic import Repeatability
from components.evaluation.bootstrap import Resampling, clip_estimate
from components.evaluation.predictions import Indices
from components.evaluation.view_counts import MOST_VIEWS, Logits, ViewFit
from components.imaging import images
from components.imaging.images import Pixels
from components.imaging.model_input import ModelInput
from components.imaging.symmetries import symmetric_views
from components.modeling.classifier import probabilities

SYMMETRIES, SHIFT, JPEG = "symmetries", "shift_1_px", "jpeg_95"
QUALITY = 95
BATCH = 32
NORMAL_95 = 1.96


@dataclass(frozen=True)
class Looks:
    """Logits of the test images at every view: as they are, and after each change."""

    plain: Logits
    changed: Mapping[str, Logits]


def logits_of_views(predict: Callable[[Pixels], NDArray[np.float32]], pixels: Pixels, count: int = MOST_VIEWS) -> Logits:
    """The logits of images at their first `count` views: shape (count, n, logits).

    Args:
        predict: a function from pixels to logits.
        pixels: uint8 (n, size, size, 3).
        count: number of views.
    """
    return np.stack([predict(view) for view in symmetric_views(pixels, count)])


def changed_pixels(content: bytes, model_input: ModelInput) -> dict[str, Pixels]:
    """The model's input, uint8 (size, size, 3), for an image file that is moved by one pixel of that input, or compressed again."""
    size, resolution = model_input.size, model_input.resolution
    original = images.decode(content, images.required_detail(size, resolution))
    again = images.jpeg_round_trip(original, QUALITY)
    plain, compressed = (images.center_square_resize(images.downsample_to(image, resolution), size) for image in (original, again))
    return {SHIFT: np.concatenate([plain[:, :1], plain[:, :-1]], axis=1), JPEG: compressed}


def predict_changed(
    predict: Callable[[Pixels], NDArray[np.float32]], paths: Sequence[str], model_input: ModelInput, root: Path = DATA
) -> dict[str, Logits]:
    """The logits of changed images at every view, by change.

    Args:
        predict: a function from pixels to logits.
        paths: the images under `root`.
        model_input: the classifier's input.
        root: folder of the original images.
    """
    parts: dict[str, list[Logits]] = {SHIFT: [], JPEG: []}
    with tqdm(total=len(paths), desc="repeatability", unit="image", mininterval=1) as bar, ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(paths), BATCH):
            batch = paths[start : start + BATCH]
            changed = list(pool.map(lambda path: changed_pixels((root / path).read_bytes(), model_input), batch))
            for name, found in parts.items():
                found.append(logits_of_views(predict, np.stack([pixels[name] for pixels in changed])))
            bar.update(len(batch))
    return {name: np.concatenate(found, axis=1) for name, found in parts.items()}


def symmetric_answers(fit: ViewFit, logits: Logits) -> NDArray[np.float64]:
    """The probabilities for each image at each symmetry, shape (MOST_VIEWS, n, outputs), the first as it is."""
    single = np.stack([probabilities(view, fit.temperature) for view in logits])
    return np.stack([single[positions].mean(axis=0) for positions in views_at_symmetries(fit.count)])


def views_at_symmetries(count: int) -> list[list[int]]:
    """Which of the image's MOST_VIEWS views an image at each symmetry has as its first `count` ones, in ascending order."""
    views = symmetric_views(np.arange(4).reshape(2, 2, 1), MOST_VIEWS)
    position = {view.tobytes(): number for number, view in enumerate(map(np.ascontiguousarray, views))}
    return [sorted(position[np.ascontiguousarray(again).tobytes()] for again in symmetric_views(view, count)) for view in views]


def changed_diagnoses(answers: NDArray[np.float64], fit: ViewFit) -> NDArray[np.bool_]:
    """Whether an image has more than one diagnosis, (n,), from its probabilities (changes, n, outputs)."""
    named = np.stack([decision.named_outputs(found, fit.offsets) for found in answers])
    return np.asarray((named != named[0]).any(axis=0))


def changed_share(fit: ViewFit, logits: Logits) -> float:
    """Share of images of which more than one diagnosis is named at the eight symmetries."""
    return float(changed_diagnoses(symmetric_answers(fit, logits), fit).mean())


def measure_repeatability(answers: NDArray[np.float64], fit: ViewFit, triage: float | None, resampling: Resampling) -> Repeatability:
    """How far the answers about the same images differ.

    Args:
        answers: float (changes, n, outputs), probabilities of each image.
        fit: names the diagnoses.
        triage: threshold of that operating point for this number of views; None: the label set does not tell malignant from benign.
        resampling: of the images.
    """
    everything = np.ones(answers.shape[1], dtype=bool)
    changed = resampling.share(everything, changed_diagnoses(answers, fit))
    if triage is None:
        return Repeatability(changed_diagnosis=changed)
    labels = fit.scored.labels
    malignant = answers[:, :, labels.positions(labels.malignant)].sum(axis=2)
    flagged, variance = malignant >= triage, malignant.var(axis=0, ddof=1)

    def limit(at: Indices) -> dict[str, float]:
        return {"limit": float(NORMAL_95 * np.sqrt(2 * variance[at].mean()))}

    return Repeatability(
        changed_diagnosis=changed,
        crosses_triage=resampling.share(everything, flagged.any(axis=0) & ~flagged.all(axis=0)),
        limit_of_agreement=clip_estimate(resampling.estimates(limit)["limit"]),
    )
