"""What is measured for a clinic, from params.yaml and the files that it names."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from components.core.errors import ParamsError
from components.core.label_set import LabelSet
from components.evaluation.clinic import rewards
from components.evaluation.clinic.rewards import RewardTable
from components.runtime.params import Settings

DATASET = "dataset"
"""Prevalence that stands for the share of malignant test images."""


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        targets: share of the groups of each malignant output that triage finds on validation.
        rule_in_specificity: share of the benign groups that rule-in does not flag on validation.
        prevalences: of the predictive values.
        net_benefit_prevalence: of the decision curve.
        table: rewards of decisions, or None.
        resamples, seed: bootstrap samples of groups, and their seed.
        bins: of the calibration error.
    """

    targets: dict[str, float]
    rule_in_specificity: float
    prevalences: tuple[float | Literal["dataset"], ...]
    net_benefit_prevalence: float
    table: RewardTable | None
    resamples: int
    seed: int
    bins: int


def read_plan(settings: Settings, labels: LabelSet) -> Plan:
    """The plan for a label set.

    Raises:
        ParamsError: `evaluate.triage_sensitivities` names a benign class.
        LesionflowError: the table of rewards cannot be read.
    """
    params = settings.evaluate
    table = rewards.read_table(params.utilities) if params.utilities else None
    if table and (missing := table.without_place(labels.outputs)):
        print(f"no decisions by expected reward: utilities/{params.utilities}.yaml has no place for {', '.join(missing)}")
        table = None
    return Plan(
        targets=triage_targets(labels, params.triage_sensitivities, params.triage_default_sensitivity),
        rule_in_specificity=params.rule_in_specificity,
        prevalences=params.prevalences,
        net_benefit_prevalence=params.net_benefit_prevalence,
        table=table,
        resamples=params.bootstrap_resamples,
        seed=settings.seed,
        bins=params.calibration_bins,
    )


def triage_targets(labels: LabelSet, stated: Mapping[str, float], default: float) -> dict[str, float]:
    """Share of the groups of each malignant output that triage must find; a stated class that is no output is named and left out.

    Args:
        labels: the label set of the dataset.
        stated: shares by class.
        default: share of malignant outputs that `stated` does not name.

    Raises:
        ParamsError: a stated class is an output that is not malignant.
    """
    key = "params.yaml: evaluate.triage_sensitivities"
    if absent := [name for name in stated if name not in labels.outputs]:
        print(f"{key}: not used here, since the model has no such output: {', '.join(absent)}")
    if benign := [name for name in stated if name in labels.outputs and name not in labels.malignant]:
        raise ParamsError(f"{key}.{benign[0]}: this class is not malignant in label set {labels.name}")
    return {name: stated.get(name, default) for name in labels.malignant}
