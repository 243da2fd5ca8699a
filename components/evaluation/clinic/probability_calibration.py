"""Whether a probability of a yes-or-no question is right: intercept, slope, Brier score, calibration curve.

Throughout: `positive` is bool (n,), `probability` float (n,).
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from components.evaluation.metrics import Floats

Bools = NDArray[np.bool_]
CLIP = 1e-6
"""Distance from 0 and 1 that a probability keeps, so that its logit is finite."""
MIN_BIN, MAX_BINS = 20, 10
"""Images of a bin of the calibration curve, at least; bins, at most."""
MAX_STEPS, STEP_LIMIT = 100, 1e-8


def brier_score(positive: Bools, probability: Floats) -> float:
    """Mean squared difference between probability and outcome (Brier 1950)."""
    return float(np.mean((probability - positive) ** 2))


def calibration_line(positive: Bools, probability: Floats) -> tuple[float, float]:
    """Intercept and slope of a logistic regression of the outcome on the logit of the probability (Cox 1958; Van Calster et al. 2019,
    doi:10.1186/s12916-019-1466-7). A calibrated probability has 0 and 1; a slope below 1 says that probabilities are too extreme.

    nan if a threshold separates positive from negative images, or if all probabilities are equal: the regression has no solution.
    """
    x = _logits(probability)
    if positive.all() or not positive.any() or _separated(positive, x):
        return float("nan"), float("nan")
    intercept, slope = _fit(positive, np.column_stack([np.ones_like(x), x]), np.zeros_like(x), np.array([0.0, 1.0]))
    return float(intercept), float(slope)


def calibration_in_the_large(positive: Bools, probability: Floats) -> float:
    """Intercept of the same regression with the slope held at 1: above 0, the probabilities are too low on average; nan unless there are
    positive and negative images."""
    if positive.all() or not positive.any():
        return float("nan")
    x = _logits(probability)
    return float(_fit(positive, np.ones((len(x), 1)), x, np.zeros(1))[0])


def calibration_figures(positive: Bools, probability: Floats) -> dict[str, float]:
    """The figures by their names in the report; nan where undefined."""
    intercept, slope = calibration_line(positive, probability)
    return {
        "brier": brier_score(positive, probability),
        "in_the_large": calibration_in_the_large(positive, probability),
        "intercept": intercept,
        "slope": slope,
    }


def equal_count_bins(probability: Floats) -> list[NDArray[np.intp]]:
    """Indices of the images of each bin of a calibration curve, from low to high probability.

    There are at most MAX_BINS bins of about equally many images, each with MIN_BIN or more. Images of equal probability share a bin.
    Empty with fewer than MIN_BIN images.
    """
    count = min(MAX_BINS, len(probability) // MIN_BIN)
    if count == 0:
        return []
    order = np.argsort(probability, kind="stable")
    ordered = probability[order]
    starts = np.searchsorted(ordered, ordered[np.arange(1, count) * len(order) // count])
    bins: list[NDArray[np.intp]] = []
    for part in np.split(order, np.unique(starts[starts > 0])):
        if bins and min(len(part), len(bins[-1])) < MIN_BIN:
            bins[-1] = np.concatenate([bins[-1], part])
        else:
            bins.append(part)
    return bins


def _logits(probability: Floats) -> Floats:
    return np.asarray(logit(np.clip(probability, CLIP, 1 - CLIP)))


def _separated(positive: Bools, x: Floats) -> bool:
    inside, outside = x[positive], x[~positive]
    return bool(inside.min() >= outside.max() or inside.max() <= outside.min())


def _fit(positive: Bools, columns: Floats, offset: Floats, start: Floats) -> Floats:
    """Coefficients of greatest likelihood by Newton's method with step halving; nan if it does not converge."""
    beta, best = start, _log_likelihood(positive, columns @ start + offset)
    for _ in range(MAX_STEPS):
        expected = expit(columns @ beta + offset)
        curvature = (columns * (expected * (1 - expected))[:, None]).T @ columns
        try:
            step = np.linalg.solve(curvature, columns.T @ (positive - expected))
        except np.linalg.LinAlgError:
            break
        found = _log_likelihood(positive, columns @ (beta + step) + offset)
        while found < best - STEP_LIMIT and np.abs(step).max() > STEP_LIMIT:
            step = step / 2
            found = _log_likelihood(positive, columns @ (beta + step) + offset)
        beta, best = beta + step, found
        if np.abs(step).max() <= STEP_LIMIT:
            return np.asarray(beta)
    return np.full(len(start), np.nan)


def _log_likelihood(positive: Bools, x: Floats) -> float:
    return float(-np.logaddexp(0, np.where(positive, -x, x)).sum())
