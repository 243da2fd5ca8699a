"""Apply the gate to a version: compare its evidence with the thresholds, the champion and the best version on its test split."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from components.core.label_set import LabelSet
from components.core.reports.registration import Rule
from components.evaluation import bootstrap
from components.evaluation.predictions import Predictions, defined, paired_difference
from components.registry import evidence, gate, promotion, reevaluation, versions
from components.registry.evidence import Evidence
from components.registry.promotion import ChampionState
from components.runtime.params import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

COMPARED_METRICS = ("balanced_accuracy", "critical_sensitivity")
"""The metrics in which a challenger is compared with other versions."""


@dataclass(frozen=True)
class Rival:
    """A version that a challenger is compared with, and its predictions for the same images."""

    version: str
    scored: Predictions
    measured_again: bool = False


def judge_version(
    client: "MlflowClient", evidence_of_version: Evidence, number: str | None, state: ChampionState, settings: Settings
) -> list[Rule]:
    """Evaluate the rules of the gate with the current thresholds of params.yaml.

    Args:
        client: the client of the MLflow store.
        evidence_of_version: the evidence of the version to judge.
        number: the number of this version; None for a candidate that is not registered yet.
        state: the champion and the promotion record.
        settings: thresholds, seed and bootstrap settings.

    Raises:
        LesionflowError: Lesionflow did not register the champion, evidence was changed, or the champion must be re-evaluated and data/
            does not contain the images.
    """
    labels, champion, same_classes = evidence_of_version.scored.labels, None, []
    if state.champion is not None and state.number != number:
        of_champion = evidence.label_set(state.champion)
        same_classes = [gate.rule_same_classes(labels, of_champion, str(state.number))]
        champion = champion_rival(client, evidence_of_version, state, of_champion) if labels.identity == of_champion.identity else None
    others = rivals(client, evidence_of_version, number, state, settings)
    comparisons = compare_with_rivals(evidence_of_version.scored, champion, others, settings)
    return [*same_classes, *_verdict(evidence_of_version, comparisons, settings)]


def judge_alone(evidence_of_version: Evidence, settings: Settings) -> list[Rule]:
    """Evaluate the rules that compare with no other version."""
    return _verdict(evidence_of_version, (), settings)


def _verdict(evidence_of_version: Evidence, comparisons: Sequence[gate.Comparison], settings: Settings) -> list[Rule]:
    return gate.evaluate_rules(
        evidence_of_version.evaluation,
        evidence_of_version.export,
        comparisons,
        settings.registration,
        test_coverage(evidence_of_version.scored),
    )


def test_coverage(scored: Predictions) -> gate.Coverage:
    """The number of lesions behind the test metrics, and the classes without or with few test lesions."""
    present = set(scored.images["diagnosis"])
    unmeasured = [name for name in scored.labels.outputs if name not in present]
    groups = scored.images["group"]
    return gate.Coverage(int(groups.nunique()), int(groups[scored.critical].nunique()), unmeasured, scored.few_groups())


def compare_with_rivals(
    challenger: Predictions, champion: Rival | None, others: Sequence[Rival], settings: Settings
) -> list[gate.Comparison]:
    """Compare a challenger with the champion and, in each metric, with the best version, by a paired bootstrap over lesions.

    Args:
        challenger: the test predictions of the challenger.
        champion: the champion, or None.
        others: other versions evaluated on this test split (`rivals`).
        settings: seed, bootstrap settings and calibration bins.
    """
    resamples = bootstrap.cluster_bootstrap_indices(
        challenger.images["group"].to_numpy(), settings.evaluate.bootstrap_resamples, settings.seed
    )
    all_images, bins = np.arange(len(challenger.images)), settings.evaluate.calibration_bins
    on_same_split = [*([champion] if champion and not champion.measured_again else []), *others]
    comparisons = []
    for metric in defined(COMPARED_METRICS, challenger.labels):
        label = challenger.labels.metric_label(metric)
        values = [rival.scored.headline(metric, all_images, bins) for rival in on_same_split]
        best = on_same_split[int(np.argmax(values))] if on_same_split else None  # the first of equal ones, which is the champion
        for rival in [champion] if best is champion else [champion, best]:
            if rival is not None:
                difference = paired_difference(challenger, rival.scored, metric, resamples, bins)
                comparisons.append(gate.Comparison(label, rival.version, difference, rival is not champion, rival.measured_again))
    return comparisons


def champion_rival(client: "MlflowClient", evidence_of_version: Evidence, state: ChampionState, labels: LabelSet) -> Rival:
    """The champion, whose outputs have the same identity as those of a version, and its predictions for the test images of the version.

    The predictions are the recorded ones. The champion is re-evaluated if its test split is another one or its evidence is lost.

    Raises:
        LesionflowError: as `judge_version`.
    """
    champion, challenger = state.champion, evidence_of_version.scored
    if champion is None:
        raise ValueError(f"{state.model} has no champion")
    number = str(champion.version)
    try:
        champion_evidence = evidence.load_evidence(client, champion, promotion.evidence_of(state.entries, number))
        reason = "was measured on another test split" if champion_evidence.test_split_hash != evidence_of_version.test_split_hash else None
    except evidence.EvidenceLost as error:
        champion_evidence, reason = None, f"has lost its evidence ({error})"
    if champion_evidence is not None and reason is None:
        return Rival(number, align_predictions(champion_evidence.scored, challenger))
    print(f"champion version {number} {reason}: measuring it on this one's images")
    return Rival(number, reevaluation.reevaluate(champion, challenger.images, labels, evidence_of_version.data_md5), measured_again=True)


def rivals(
    client: "MlflowClient", evidence_of_version: Evidence, number: str | None, state: ChampionState, settings: Settings
) -> list[Rival]:
    """The versions other than the champion that are eligible as best version on a test split.

    An eligible version was evaluated on this split and has outputs of the same identity. It became champion through the gate, or it
    passed every rule that compares with no other version, with the thresholds at its registration (if that was not recorded, with the
    current ones). Thus a version that predicts the critical class for all images, or one that was promoted with an override, does not
    block later versions.
    Versions whose evidence is lost are left out, and a message is printed.

    Raises:
        LesionflowError: the evidence of a version was changed or cannot be read.
    """
    eligible = []
    for version in versions.versions_tagged(client, state.model, "test_split_hash", evidence_of_version.test_split_hash):
        other = str(version.version)
        if other in (number, state.number) or evidence.label_set(version).identity != evidence_of_version.scored.labels.identity:
            continue
        try:
            other_evidence = evidence.load_evidence(client, version, promotion.evidence_of(state.entries, other))
        except evidence.EvidenceLost as error:
            print(f"left out of the comparison with the best version: {error}")
            continue
        passed = gate.passed(judge_alone(other_evidence, settings)) if other_evidence.passed_alone is None else other_evidence.passed_alone
        if passed or promotion.passed_the_gate(state.entries, other):
            eligible.append(Rival(other, align_predictions(other_evidence.scored, evidence_of_version.scored)))
    return eligible


def align_predictions(other: Predictions, challenger: Predictions) -> Predictions:
    """The predictions of `other` in the order of the images of the challenger; both have the same images."""
    table = other.table().set_index("pixels_sha256")
    return Predictions.of_table(table.loc[challenger.images["pixels_sha256"]].reset_index(), other.labels)
