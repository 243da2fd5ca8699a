"""What another setting changes, from two cross-validations that hold out the same images in the same folds. All functions are pure."""

from dataclasses import dataclass

import numpy as np

from components.core.errors import LesionflowError
from components.core.reports.cross_validation import CrossValidation
from components.core.reports.evaluation import Estimate
from components.search.statistics import corrected_interval, corrected_standard_error


@dataclass(frozen=True)
class Difference:
    """A metric's means over folds before and after a change, and the mean of its differences fold by fold with the corrected error."""

    before: float
    after: float
    change: Estimate
    standard_error: float

    @property
    def is_clear(self) -> bool:
        """The change is larger than one standard error."""
        return abs(self.change.value) > self.standard_error


def compare(before: CrossValidation, after: CrossValidation) -> dict[str, Difference]:
    """The difference of each metric that all folds of both reports have.

    Raises:
        LesionflowError: the reports are not of the same folds of the same images, are of two label sets, or lack balanced accuracy.
    """
    if before.label_set != after.label_set:
        raise LesionflowError(
            f"the label sets differ: {before.label_set.name} before, {after.label_set.name} after. Compare figures of the same classes."
        )
    if not before.deal or before.deal != after.deal:
        raise LesionflowError(
            "the folds do not hold out the same images. Run `lesionflow cv` for both settings with the same data, seed, folds and repeats."
        )
    if "balanced_accuracy" not in before.mean or "balanced_accuracy" not in after.mean:
        raise LesionflowError("a report has no balanced accuracy. Run `lesionflow cv` again.")
    share = (before.held_out_share + after.held_out_share) / 2
    return {name: _difference(before, after, name, share) for name in before.mean if name in after.mean}


def _difference(before: CrossValidation, after: CrossValidation, name: str, share: float) -> Difference:
    later = {(fold.repeat, fold.number): fold.figures[name] for fold in after.folds}
    changes = [later[fold.repeat, fold.number] - fold.figures[name] for fold in before.folds]
    error = corrected_standard_error(changes, share)
    change = corrected_interval(float(np.mean(changes)), error, len(changes))
    return Difference(before.mean[name].value, after.mean[name].value, change, error)
