"""Apply the gate to a version: compare its evidence with the thresholds, the champion and the best version on its test split."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from components.core.reports.evaluation import Estimate
from components.core.reports.registration import Rule
from components.evaluation import bootstrap
from components.evaluation.predictions import Indices, Predictions, defined, paired_difference
from components.registry import comparability, evidence, gate, promotion, reevaluation, versions
from components.registry.comparability import COMPARED_METRICS, ComparisonSet
from components.registry.evidence import Evidence
from components.registry.promotion import ChampionState
from components.runtime.params import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


@dataclass(frozen=True)
class Rival:
    """A version that a challenger is compared with.

    Attributes:
        version: its number.
        scored: its predictions of test images of the challenger: all of them, or for the champion those that it has not seen.
        measured_again: whether it was measured on these images now, for it has another test split or has lost its evidence.
        metrics: the metrics to compare.
    """

    version: str
    scored: Predictions
    measured_again: bool = False
    metrics: tuple[str, ...] = COMPARED_METRICS


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
    labels, champion, about_champion = evidence_of_version.scored.labels, None, []
    if state.champion is not None and state.number != number:
        of_champion = evidence.label_set(state.champion)
        about_champion = [gate.rule_same_classes(labels, of_champion, str(state.number))]
        if labels.identity == of_champion.identity:
            comparable, champion = champion_rival(client, evidence_of_version, state, settings)
            about_champion.append(comparable)
    others = rivals(client, evidence_of_version, number, state, settings)
    comparisons = compare_with_rivals(evidence_of_version.scored, champion, others, settings)
    return [*about_champion, *_verdict(evidence_of_version, comparisons, settings)]


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
    """The number of groups behind the test metrics, and the classes without or with few test groups."""
    present = set(scored.images["diagnosis"])
    unmeasured = [name for name in scored.labels.outputs if name not in present]
    groups = scored.images["group"]
    return gate.Coverage(int(groups.nunique()), int(groups[scored.critical].nunique()), unmeasured, scored.few_groups())


def compare_with_rivals(
    challenger: Predictions, champion: Rival | None, others: Sequence[Rival], settings: Settings
) -> list[gate.Comparison]:
    """Compare a challenger with the champion and, in each metric, with the best version, by a paired bootstrap over groups.

    Args:
        challenger: the test predictions of the challenger.
        champion: the champion with the metrics and images to compare on, or None.
        others: other versions evaluated on this test split (`rivals`).
        settings: seed, bootstrap settings and calibration bins.
    """
    paired = _Paired.of(challenger, settings)
    paired_with_champion = _Paired.of(align_predictions(challenger, champion.scored), settings) if champion else paired
    all_images, bins = np.arange(len(challenger.images)), settings.evaluate.calibration_bins
    on_same_split = [*([champion] if champion and not champion.measured_again else []), *others]
    comparisons = []
    for metric in defined(COMPARED_METRICS, challenger.labels):
        label = challenger.labels.metric_label(metric)
        values = [rival.scored.headline(metric, all_images, bins) for rival in on_same_split]
        best = on_same_split[int(np.argmax(values))] if on_same_split else None  # the first of equal ones, which is the champion
        if champion and metric in champion.metrics:
            difference = paired_with_champion.less(champion, metric, bins)
            comparisons.append(gate.Comparison(label, champion.version, difference, measured_again=champion.measured_again))
        if best is not None and best is not champion:
            comparisons.append(gate.Comparison(label, best.version, paired.less(best, metric, bins), best=True))
    return comparisons


@dataclass(frozen=True)
class _Paired:
    """The challenger's predictions of the images of a comparison, and bootstrap samples of their groups."""

    challenger: Predictions
    samples: list[Indices]

    @classmethod
    def of(cls, challenger: Predictions, settings: Settings) -> "_Paired":
        groups = challenger.images["group"].to_numpy()
        return cls(challenger, bootstrap.cluster_bootstrap_indices(groups, settings.evaluate.bootstrap_resamples, settings.seed))

    def less(self, rival: Rival, metric: str, bins: int) -> Estimate:
        """The challenger's metric less that of a rival with predictions of the same images."""
        return paired_difference(self.challenger, rival.scored, metric, self.samples, bins)


def champion_rival(
    client: "MlflowClient", evidence_of_version: Evidence, state: ChampionState, settings: Settings
) -> tuple[Rule, Rival | None]:
    """The rule whether a version is comparable with the champion, whose outputs have the same identity, and the champion's predictions.

    The predictions are the recorded ones if both have the same test split. Otherwise the champion is re-evaluated on the test images of
    the version that it has not seen; it is None if these are too few or not known. It is also re-evaluated if its evidence is lost.

    Raises:
        LesionflowError: as `judge_version`.
    """
    if state.champion is None:
        raise ValueError(f"{state.model} has no champion")
    champion, number, challenger = state.champion, str(state.number), evidence_of_version.scored
    recorded = _recorded(client, champion, state)
    test_split = recorded.test_split_hash if recorded else champion.tags.get("test_split_hash")
    if test_split != evidence_of_version.test_split_hash:
        chosen = _unseen(challenger, number, recorded, settings)
    elif recorded is not None:
        return comparability.all_images(challenger, number).rule, Rival(number, align_predictions(recorded.scored, challenger))
    else:
        chosen = comparability.all_images(challenger, number)
    if not chosen.metrics:
        return chosen.rule, None
    images = chosen.challenger.images
    print(f"measuring champion version {number} on {len(images)} of {len(challenger.images)} test images: {chosen.rule.says}")
    again = reevaluation.reevaluate(champion, images, challenger.labels, evidence_of_version.data_md5)
    return chosen.rule, Rival(number, again, measured_again=True, metrics=chosen.metrics)


def _recorded(client: "MlflowClient", champion: "ModelVersion", state: ChampionState) -> Evidence | None:
    """The evidence of the champion; None, and a message, if it is lost."""
    try:
        return evidence.load_evidence(client, champion, promotion.evidence_of(state.entries, str(champion.version)))
    except evidence.EvidenceLost as error:
        print(f"champion version {champion.version} has lost its evidence: {error}")
        return None


def _unseen(challenger: Predictions, number: str, recorded: Evidence | None, settings: Settings) -> ComparisonSet:
    if recorded is None or recorded.split is None:
        return comparability.no_images(challenger, number)
    return comparability.unseen_images(challenger, number, recorded.split, settings.registration)


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
    """The predictions of `other` for the images of the challenger, in their order; `other` has predictions of all of them."""
    table = other.table().set_index("pixels_sha256")
    return Predictions.of_table(table.loc[challenger.images["pixels_sha256"]].reset_index(), other.labels)
