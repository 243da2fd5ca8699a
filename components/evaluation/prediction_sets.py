"""Prediction sets that contain the true class with a stated probability, by split conformal prediction.

The score of an image is one less the probability of its true class (Sadinle, Lei and Wasserman 2019, doi:10.1080/01621459.2017.1395341).
The guarantee holds for images like those of the calibration half, and not under a shift (Mehrtens et al. 2023, arXiv:2506.18162).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.core import decision
from components.core.reports.evaluation import Abstention, PredictionSets
from components.evaluation import bootstrap
from components.evaluation.bootstrap import Resampling
from components.evaluation.metrics import Floats
from components.evaluation.predictions import Indices, Predictions

MIN_GROUPS = 20
"""Number of calibration groups of a class from which it has a threshold of its own; the others share one."""


@dataclass(frozen=True)
class Certainty:
    """What is calibrated for certain answers.

    Attributes:
        coverage: probability with which a set contains the true class.
        thresholds: float (outputs,), smallest probability of each output in a set.
        pooled: outputs whose threshold is shared, since they have fewer than MIN_GROUPS calibration groups.
        abstention: largest probability below which the model abstains.
    """

    coverage: float
    thresholds: NDArray[np.float64]
    pooled: tuple[str, ...]
    abstention: float


def calibrate(scored: Predictions, coverage: float, max_abstention: float) -> Certainty:
    """Calibrate the sets and the abstention on images that nothing else was fitted to.

    Args:
        scored: calibrated probabilities of the calibration half.
        coverage: probability with which a set must contain the true class.
        max_abstention: share of these images from which the model abstains, at most.
    """
    groups, truth = scored.images["group"].to_numpy(), scored.truth
    one = np.unique(groups, return_index=True)[1]
    of_truth = scored.probabilities[one, truth[one]]
    counts = np.bincount(truth[one], minlength=len(scored.labels.outputs))
    pooled = counts < MIN_GROUPS
    shared = smallest_probability(of_truth[pooled[truth[one]]], coverage)
    thresholds = [
        shared if pooled[number] else smallest_probability(of_truth[truth[one] == number], coverage) for number in range(len(counts))
    ]
    names = tuple(name for name, is_pooled in zip(scored.labels.outputs, pooled, strict=True) if is_pooled)
    return Certainty(coverage, np.array(thresholds), names, abstention_threshold(scored.probabilities, max_abstention))


def smallest_probability(of_truth: Floats, coverage: float) -> float:
    """Smallest probability of an output in a set, from the probabilities of the true class of calibration images; 0 if they are too few.

    With n images it is the k-th smallest, k = floor((n + 1) (1 - coverage)), so that a further image's true class is in its set with at
    least this probability (Vovk et al. 2005).
    """
    rank = int(np.floor(round((len(of_truth) + 1) * (1 - coverage), 9)))
    return float(np.sort(of_truth)[rank - 1]) if rank else 0.0


def abstention_threshold(probabilities: Floats, share: float) -> float:
    """The largest threshold of the largest probability at which the model abstains from at most this share of images."""
    return float(np.sort(probabilities.max(axis=1))[int(np.floor(round(share * len(probabilities), 9)))])


def measure_sets(scored: Predictions, certainty: Certainty, samples: list[Indices]) -> PredictionSets:
    """Coverage and size of the sets on test."""
    inside, labels = decision.prediction_sets(scored.probabilities, certainty.thresholds), scored.labels
    covered, everything = inside[np.arange(len(inside)), scored.truth], np.ones(len(inside), dtype=bool)
    spared = np.asarray(~inside[:, labels.positions(labels.malignant)].any(axis=1))
    sizes, resampling = inside.sum(axis=1), Resampling(scored.images["group"].to_numpy(), samples)
    return PredictionSets(
        target=certainty.coverage,
        pooled=certainty.pooled,
        thresholds=dict(zip(labels.outputs, certainty.thresholds.tolist(), strict=True)),
        coverage=resampling.share(everything, covered),
        critical_coverage=resampling.share(scored.critical, covered) if labels.critical and scored.critical.any() else None,
        coverage_by_class={
            name: resampling.share(scored.truth == number, covered)
            for number, name in enumerate(labels.outputs)
            if (scored.truth == number).any()
        },
        size=bootstrap.bootstrap_estimate(lambda at: float(sizes[at].mean()), samples, len(sizes)),
        benign_without_malignant=resampling.share(~scored.malignant, spared) if labels.separates_malignant else None,
        malignant_without_malignant=resampling.share(scored.malignant, spared) if labels.separates_malignant else None,
    )


def measure_abstention(scored: Predictions, certainty: Certainty, samples: list[Indices]) -> Abstention:
    """From whom the model abstains on test, and how accurate it is on the others."""
    silent, right = decision.too_uncertain(scored.probabilities, certainty.abstention), scored.predicted == scored.truth
    everything, resampling = np.ones(len(silent), dtype=bool), Resampling(scored.images["group"].to_numpy(), samples)
    return Abstention(
        threshold=certainty.abstention,
        share=resampling.share(everything, silent),
        accuracy_answered=resampling.share(~silent, right) if (~silent).any() else None,
        accuracy_abstained=resampling.share(silent, right) if silent.any() else None,
        by_class={name: int(silent[scored.truth == number].sum()) for number, name in enumerate(scored.labels.outputs)},
    )
