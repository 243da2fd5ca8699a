"""Chooses from when an image is unlike anything in training, and measures how well pictures without a lesion are separated from lesions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.core.reports.evaluation import Estimate
from components.core.reports.index import FalseAlarms, NonLesions
from components.evaluation.bootstrap import Resampling

LESION = 10
"""Number of the nearest lesion, by distance, whose distance is compared (Sun et al. 2022). On validation of isic9 (seed 3) 5, 10 and 16 are
alike, 1 misses landscapes, and 50 misses more shuffled tiles."""

Bools = NDArray[np.bool_]


def novelty_threshold(distances: NDArray[np.floating], share: float) -> float | None:
    """The distance above which an image is unlike anything in training.

    A further image like the n calibration images exceeds the k-th smallest of their distances, k = ceil((n + 1) (1 - share)), with at most
    this probability (Vovk et al. 2005).

    Args:
        distances: of the calibration images, (n,).
        share: of such images that may be called novel.

    Returns:
        None if there are too few calibration images for that share.
    """
    rank = int(np.ceil(round((len(distances) + 1) * (1 - share), 9)))
    return float(np.sort(distances)[rank - 1]) if rank <= len(distances) else None


@dataclass(frozen=True)
class Seen:
    """What the model finds in several pictures. Each is bool (n,): whether the picture has the reason to abstain."""

    not_dermoscopic: Bools
    unlike_training: Bools
    too_uncertain: Bools

    @property
    def detected(self) -> Bools:
        """Whether a picture is not dermoscopic or unlike training."""
        return self.not_dermoscopic | self.unlike_training

    @classmethod
    def joined(cls, parts: Sequence["Seen"]) -> "Seen":
        """All pictures of the parts."""
        names = ("not_dermoscopic", "unlike_training", "too_uncertain")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def measure_false_alarms(test: Seen, diagnoses: NDArray[np.str_], resampling: Resampling) -> FalseAlarms:
    """Measure what is said of the test images, whose diagnoses are given, (n,)."""
    everything = np.ones(len(diagnoses), dtype=bool)
    return FalseAlarms(
        by_class={str(name): resampling.share(diagnoses == name, test.detected) for name in np.unique(diagnoses)},
        either=resampling.share(everything, test.detected),
        not_dermoscopic=resampling.share(everything, test.not_dermoscopic),
        unlike_training=resampling.share(everything, test.unlike_training),
    )


def measure_non_lesions(made: Mapping[str, Seen], resamples: int, seed: int) -> dict[str, NonLesions]:
    """Measure what is said of made pictures, by kind; each is a group of its own."""
    return {
        kind: NonLesions(
            answered=int((~seen.detected & ~seen.too_uncertain).sum()),
            detected=share_detected(seen, resamples, seed),
            not_dermoscopic=int(seen.not_dermoscopic.sum()),
            pictures=len(seen.detected),
            too_uncertain=int(seen.too_uncertain.sum()),
            unlike_training=int(seen.unlike_training.sum()),
        )
        for kind, seen in made.items()
    }


def share_detected(seen: Seen, resamples: int, seed: int) -> Estimate:
    """Share of the pictures that are detected, each a group of its own."""
    count = len(seen.detected)
    return Resampling.of_groups(np.arange(count), resamples, seed).share(np.ones(count, dtype=bool), seen.detected)
