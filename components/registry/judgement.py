"""The gate's verdict on a version: its evidence against the thresholds, the champion, and the best version on the same test split."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from components.core.classes import encode_targets, output_names
from components.core.errors import LesionflowError
from components.core.reports.registration import Rule
from components.evaluation import bootstrap
from components.evaluation.predictions import Predictions, paired_difference
from components.registry import evidence, gate, promotion, reevaluation, versions
from components.registry.evidence import Evidence
from components.registry.promotion import ChampionState
from components.runtime.params import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEPT = ("balanced_accuracy", "critical_sensitivity")
"""The figures in which a challenger must not lose."""


@dataclass(frozen=True)
class Rival:
    """A version that a challenger is held against, with its probabilities on the same images."""

    version: str
    scored: Predictions
    measured_again: bool = False


def judge_version(client: "MlflowClient", found: Evidence, number: str | None, state: ChampionState, settings: Settings) -> list[Rule]:
    """The gate's verdict, with the thresholds of params.yaml as they are now.

    Args:
        client: of the store.
        found: the evidence on the version to be judged.
        number: that version; None for a candidate that is not registered yet.
        state: the champion, and the promotion record.
        settings: thresholds, seed, bootstrap.

    Raises:
        LesionflowError: the champion answers another task; evidence was changed; or the champion must be measured again and data/
            does not hold the images.
    """
    champion = None if state.number in (None, number) else champion_rival(client, found, state)
    others = rivals(client, found, number, state, settings)
    return _verdict(found, compare_with_rivals(found.scored, champion, others, settings), settings)


def judge_alone(found: Evidence, settings: Settings) -> list[Rule]:
    """The verdict of the rules that need no other version."""
    return _verdict(found, (), settings)


def _verdict(found: Evidence, comparisons: Sequence[gate.Comparison], settings: Settings) -> list[Rule]:
    return gate.evaluate_rules(found.evaluation, found.export, comparisons, settings.registration, test_coverage(found.scored))


def test_coverage(scored: Predictions) -> gate.Coverage:
    """What a version's figures on test rest on."""
    there = set(encode_targets(list(scored.images["diagnosis"]), scored.task))
    unmeasured = [name for number, name in enumerate(output_names(scored.task)) if number not in there]
    groups = scored.images["group"]
    return gate.Coverage(int(groups.nunique()), int(groups[scored.critical].nunique()), unmeasured, scored.few_groups())


def compare_with_rivals(
    challenger: Predictions, champion: Rival | None, others: Sequence[Rival], settings: Settings
) -> list[gate.Comparison]:
    """A challenger against the champion, and in each figure against the best version, by a paired bootstrap over lesions.

    Args:
        challenger: its probabilities on test.
        champion: None where there is none.
        others: further versions measured on this test split (`rivals`).
        settings: seed, bootstrap, bins.
    """
    samples = bootstrap.cluster_bootstrap_indices(
        challenger.images["group"].to_numpy(), settings.evaluate.bootstrap_resamples, settings.seed
    )
    everything, bins = np.arange(len(challenger.images)), settings.evaluate.calibration_bins
    measured = [*([champion] if champion and not champion.measured_again else []), *others]
    found = []
    for figure in KEPT:
        figures = [rival.scored.headline(figure, everything, bins) for rival in measured]
        best = measured[int(np.argmax(figures))] if measured else None  # of equal ones the first, which is the champion
        for rival in [champion] if best is champion else [champion, best]:
            if rival is not None:
                less = paired_difference(challenger, rival.scored, figure, samples, bins)
                found.append(gate.Comparison(figure, rival.version, less, rival is not champion, rival.measured_again))
    return found


def champion_rival(client: "MlflowClient", found: Evidence, state: ChampionState) -> Rival:
    """The champion on a version's test images: as recorded, or measured again where it was measured on another test split, or its
    evidence was lost before evidence belonged to versions.

    Raises:
        LesionflowError: as `judge`.
    """
    champion, challenger = state.champion, found.scored
    if champion is None:
        raise ValueError(f"{state.model} has no champion")
    number, task = str(champion.version), champion.tags.get("task")
    if task != challenger.task:
        raise LesionflowError(
            f"champion version {number} is a {task} model and the candidate a {challenger.task} one:"
            " register them under different names (register.registered_model in params.yaml)"
        )
    try:
        held = evidence.load_evidence(client, champion, promotion.evidence_of(state.entries, number))
        why = "was measured on another test split" if held.test_split_hash != found.test_split_hash else None
    except evidence.EvidenceLost as fault:
        held, why = None, f"has lost its evidence ({fault})"
    if held is not None and why is None:
        return Rival(number, align_predictions(held.scored, challenger))
    print(f"champion version {number} {why}: measuring it on this one's images")
    return Rival(number, reevaluation.reevaluate(champion, challenger.images, task, found.data_md5), measured_again=True)


def rivals(client: "MlflowClient", found: Evidence, number: str | None, state: ChampionState, settings: Settings) -> list[Rival]:
    """The versions besides the champion that count for the best one on a test split.

    They are those measured on it, of the same task, that passed every rule that needs no other version with the thresholds they were
    registered with (where that was not recorded: those of now), or became champion through the gate.

    So a version that calls everything melanoma, or one that a person promoted past the gate, does not hold the others back for ever.
    Versions whose evidence was lost before evidence belonged to versions are left out, with a line that says so.

    Raises:
        LesionflowError: a version's evidence was changed, or cannot be read.
    """
    counted = []
    for version in versions.versions_tagged(client, state.model, "test_split_hash", found.test_split_hash):
        other = str(version.version)
        if other in (number, state.number) or version.tags.get("task") != found.scored.task:
            continue
        try:
            held = evidence.load_evidence(client, version, promotion.evidence_of(state.entries, other))
        except evidence.EvidenceLost as fault:
            print(f"left out of the comparison with the best version: {fault}")
            continue
        passed = gate.passed(judge_alone(held, settings)) if held.passed_alone is None else held.passed_alone
        if passed or promotion.passed_the_gate(state.entries, other):
            counted.append(Rival(other, align_predictions(held.scored, found.scored)))
    return counted


def align_predictions(other: Predictions, challenger: Predictions) -> Predictions:
    """The probabilities of `other` in the order of the challenger's images, which are the same ones."""
    table = other.table().set_index("pixels_sha256")
    return Predictions.of_table(table.loc[challenger.images["pixels_sha256"]].reset_index(), other.task)
