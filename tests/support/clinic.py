"""Predictions whose probabilities are calibrated, for tests of the figures for a clinic."""

import numpy as np
import pandas as pd

from components.core.label_set import LabelSet
from components.evaluation.clinic.plan import Plan
from components.evaluation.clinic.rewards import read_table
from components.evaluation.predictions import Predictions
from tests.support.labels import ISIC9
from tests.support.project import ROOT


def calibrated_predictions(images: int = 400, labels: LabelSet = ISIC9, seed: int = 0, group_size: int = 1) -> Predictions:
    """Predictions with classes drawn from their own probabilities; `group_size` images of one group follow each other."""
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.full(len(labels.outputs), 0.4), images)
    drawn = (probabilities.cumsum(axis=1) < random.random(images)[:, None]).sum(axis=1)
    names = [str(number) for number in range(images)]
    diagnoses = np.array(labels.outputs)[np.minimum(drawn, len(labels.outputs) - 1)]
    frame = pd.DataFrame({"path": names, "pixels_sha256": names, "diagnosis": diagnoses, "group": np.arange(images) // group_size})
    return Predictions(frame, probabilities, labels)


def plan(labels: LabelSet = ISIC9, utilities: str | None = "barata2023", **values: object) -> Plan:
    """What is measured, with few bootstrap samples."""
    defaults = {
        "targets": dict.fromkeys(labels.malignant, 0.9),
        "rule_in_specificity": 0.95,
        "prevalences": ("dataset", 0.05),
        "net_benefit_prevalence": 0.05,
        "table": read_table(utilities, ROOT / "utilities") if utilities else None,
        "resamples": 100,
        "seed": 0,
        "bins": 15,
    }
    return Plan(**{**defaults, **values})
