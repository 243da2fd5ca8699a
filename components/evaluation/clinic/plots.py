"""reports/evaluation/clinic.png: the figures for a clinic in four panels."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from components.core.plotting import save_figure
from components.core.reports.clinic import Clinic, NetBenefit, OperatingPoint, ProbabilityCalibration
from components.evaluation.clinic import abstention, discrimination
from components.evaluation.clinic.operating_points import BALANCED, RULE_IN, TRIAGE
from components.evaluation.clinic.probability_calibration import MIN_BIN
from components.evaluation.predictions import Predictions

COLORS = {TRIAGE: "tab:red", BALANCED: "tab:purple", RULE_IN: "tab:green"}
SMALL = 8
FEWEST = 20
"""Answered images from which the risk is drawn; that of fewer jumps."""


def draw(clinic: Clinic, test: Predictions, path: Path) -> None:
    """Plot ROC curve with operating points, calibration curve, net benefit, and risk against coverage.

    A panel that the label set or the test images do not allow says so.

    Args:
        clinic: the figures.
        test: the calibrated predictions that they were measured on.
        path: the picture.
    """
    figure, axes = plt.subplots(2, 2, figsize=(11, 9.4), layout="constrained")
    roc, calibration, benefit, coverage = axes.flat
    if clinic.operating_points:
        _draw_roc(roc, clinic.operating_points, test)
    else:
        _say(roc, "no malignant and benign images to tell apart")
    malignant = clinic.calibration.get("malignant")
    if malignant and malignant.curve:
        _draw_calibration(calibration, malignant)
    else:
        _say(calibration, f"fewer than {MIN_BIN} images for a calibration curve" if malignant else "no malignant probability")
    if clinic.net_benefit:
        _draw_net_benefit(benefit, clinic.net_benefit)
    else:
        _say(benefit, "no net benefit: nothing to refer")
    _draw_coverage(coverage, test)
    save_figure(figure, path)


def _draw_roc(axis: Any, points: dict[str, OperatingPoint], test: Predictions) -> None:
    axis.plot(*discrimination.roc_points(test.malignant, test.malignant_probability), color="0.35", linewidth=1.4)
    axis.plot([0, 1], [0, 1], color="0.7", linestyle=":", linewidth=1)
    for name, point in points.items():
        x, y = 1 - point.specificity.value, point.sensitivity.value
        color = COLORS[name]
        axis.hlines(y, 1 - point.specificity.high, 1 - point.specificity.low, color=color, linewidth=1)
        axis.vlines(x, point.sensitivity.low, point.sensitivity.high, color=color, linewidth=1)
        label = f"{name.replace('_', '-')} (from {point.threshold:.2g}): sensitivity {y:.2f}, specificity {1 - x:.2f}"
        axis.plot(x, y, "o", color=color, markersize=6, label=label)
    axis.set(xlabel="1 - specificity", ylabel="sensitivity", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axis.set_title("malignant against benign, test; thresholds from validation", fontsize=10)
    axis.legend(fontsize=SMALL, loc="lower right", frameon=False)


def _draw_calibration(axis: Any, found: ProbabilityCalibration) -> None:
    x = [row.probability for row in found.curve]
    y = np.array([row.observed.value for row in found.curve])
    bounds = np.array([[row.observed.low, row.observed.high] for row in found.curve]).T
    axis.plot([0, 1], [0, 1], color="0.7", linestyle=":", linewidth=1)
    axis.errorbar(x, y, yerr=np.abs(bounds - y), color="tab:blue", marker="o", markersize=4, linewidth=1.2, elinewidth=1)
    figures = {"slope": found.slope, "intercept": found.intercept, "in the large": found.in_the_large}
    lines = [f"{name} {row:.2f}" for name, row in figures.items() if row is not None]
    axis.text(0.03, 0.97, "\n".join(lines), transform=axis.transAxes, va="top", fontsize=SMALL)
    axis.set(xlabel="malignant probability", ylabel="share of malignant images", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axis.set_title("calibration of the malignant probability", fontsize=10)


def _draw_net_benefit(axis: Any, found: NetBenefit) -> None:
    at = [row.threshold for row in found.points]
    axis.fill_between(at, [row.model.low for row in found.points], [row.model.high for row in found.points], color="tab:blue", alpha=0.15)
    axis.plot(at, [row.model.value for row in found.points], color="tab:blue", label="model")
    axis.plot(at, [row.refer_all for row in found.points], color="0.45", linestyle="--", linewidth=1.2, label="refer all")
    axis.axhline(0, color="0.7", linewidth=1, label="refer none")
    axis.set(xlabel="probability from which a lesion is referred", ylabel="net benefit per lesion", xlim=(at[0], at[-1]))
    axis.set_ylim(min(-0.2 * found.prevalence, *(row.model.low for row in found.points)), 1.1 * found.prevalence)
    axis.set_title(f"net benefit at a prevalence of {found.prevalence:.0%}", fontsize=10)
    axis.legend(fontsize=SMALL, loc="best", frameon=False)


def _draw_coverage(axis: Any, test: Predictions) -> None:
    confidence, right = test.probabilities.max(axis=1), test.probabilities.argmax(axis=1) == test.truth
    coverage, risk = abstention.risk_curve(confidence, right)
    shown = coverage * len(right) >= min(FEWEST, len(right))
    axis.plot(coverage[shown], risk[shown], color="tab:blue", linewidth=1.2)
    axis.set(xlabel="share of images answered, surest first", ylabel="share of answers that are wrong", xlim=(0, 1.02))
    axis.set_ylim(0, max(0.05, 1.1 * float(risk[shown].max())))
    axis.set_title("risk against coverage", fontsize=10)


def _say(axis: Any, text: str) -> None:
    axis.set_axis_off()
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", color="0.4", style="italic")
