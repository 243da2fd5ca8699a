"""Measures decisions by expected reward beside the likeliest class."""

import numpy as np

from components.core.reports.clinic import DecisionMetrics, Rewards
from components.evaluation import metrics
from components.evaluation.bootstrap import Resampling, bootstrap_estimate, clip_estimate
from components.evaluation.clinic import rewards
from components.evaluation.clinic.rewards import RewardTable
from components.evaluation.metrics import Floats, Ints
from components.evaluation.predictions import Indices, Predictions


def measure_rewards(test: Predictions, table: RewardTable, resampling: Resampling) -> Rewards | None:
    """Both ways of naming a class of the table; None if the outputs belong to fewer than two of its classes.

    Args:
        test: predictions whose outputs all have a place in the table.
        table: the rewards.
        resampling: bootstrap samples of the images of `test`.
    """
    classes = {output: table.class_of(output) or "" for output in test.labels.outputs}
    names = tuple(name for name in table.classes if name in classes.values())
    if len(names) < 2:
        return None
    members = {name: [number for number, output in enumerate(test.labels.outputs) if classes[output] == name] for name in names}
    probabilities, matrix = rewards.folded(test.probabilities, members), table.matrix(names)
    truth = np.array([names.index(classes[output]) for output in test.labels.outputs])[test.truth]
    by_reward = rewards.expected_rewards(probabilities, matrix).argmax(axis=1)
    return Rewards(
        argmax=_measure(truth, probabilities.argmax(axis=1), matrix, names, resampling),
        classes=classes,
        expected_reward=_measure(truth, by_reward, matrix, names, resampling),
        table=table.name,
    )


def _measure(truth: Ints, named: Ints, matrix: Floats, names: tuple[str, ...], resampling: Resampling) -> DecisionMetrics:
    right, received = named == truth, rewards.received_rewards(truth, named, matrix)
    members = {name: truth == number for number, name in enumerate(names)}
    accuracy = resampling.share(np.ones_like(right), right)

    def balanced_accuracy(at: Indices) -> float:
        return metrics.balanced_accuracy(truth[at], named[at])

    return DecisionMetrics.model_validate(
        {
            "accuracy": accuracy,
            "balanced_accuracy": clip_estimate(bootstrap_estimate(balanced_accuracy, resampling.samples, len(truth))),
            "mean_reward": bootstrap_estimate(lambda at: float(received[at].mean()), resampling.samples, len(truth)),
            "sensitivity_by_class": {name: resampling.share(inside, right) for name, inside in members.items() if inside.any()},
        }
    )
