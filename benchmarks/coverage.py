"""Measure how often the 95 % interval of a proportion contains the true value, on simulated test sets.

    python -m benchmarks.coverage

For each number of lesions and each true share, test sets are drawn whose lesions have one to three images, with equal results for all
images of a lesion (the hardest case) or independent ones. Each test set gets the interval of the reports
(`bootstrap.proportion_estimate`) and the bootstrap interval. The nominal coverage is 0.95; at least 0.93 is required in every case.
"""

import argparse
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.harness import machine
from benchmarks.harness.tables import table
from components.evaluation import bootstrap

LESIONS = (17, 40, 100)
SHARES = (0.5, 0.9, 0.95, 0.99)
RESAMPLES = 200
WANTED = 0.93


def covered(lesions: int, share: float, alike: bool, runs: int, seed: int) -> tuple[float, float]:
    """Share of simulated test sets whose interval contains the true share: for the bootstrap interval, and for the reports' interval."""
    random = np.random.default_rng(seed)
    groups = np.repeat(np.arange(lesions), 1 + np.arange(lesions) % 3)
    samples = bootstrap.cluster_bootstrap_indices(groups, RESAMPLES, seed)
    held = np.zeros((runs, 2), dtype=bool)
    for run in range(runs):
        right = draw(random, groups, share, alike)
        resampled = bootstrap.bootstrap_estimate(partial(mean_of, right), samples, len(right))
        for column, found in enumerate((resampled, bootstrap.proportion_estimate(right, groups, resampled))):
            held[run, column] = found.low <= share <= found.high
    bootstrapped, reported = held.mean(axis=0)
    return float(bootstrapped), float(reported)


def mean_of(right: NDArray[np.bool_], at: NDArray[np.intp]) -> float:
    """The share of these images that is right."""
    return float(right[at].mean())


def draw(random: np.random.Generator, groups: NDArray[np.intp], share: float, alike: bool) -> NDArray[np.bool_]:
    """Draw which images are correct: for whole lesions if the images of a lesion have equal results."""
    if alike:
        return (random.random(groups.max() + 1) < share)[groups]
    return random.random(len(groups)) < share


def report(document: dict[str, Any]) -> str:
    """The results as a table, and whether the coverage is sufficient in every case."""
    rows = document["rows"]
    lines = [
        [
            f"{row['lesions']} lesions, {row['share']:g} right, images {'alike' if row['alike'] else 'by chance'}",
            f"{row['bootstrap']:.3f}",
            f"{row['reported']:.3f}",
        ]
        for row in rows
    ]
    least = min(row["reported"] for row in rows)
    verdict = f"least coverage {least:.3f}, at least {WANTED} wanted: {'met' if least >= WANTED else 'MISSED'}"
    head = [f"{document['runs']} test sets each", "bootstrap", "reported"]
    return f"{table(head, lines)}\n\n{verdict}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="simulated test sets of each kind (default: %(default)s)")
    given = parser.parse_args()
    kinds = [(lesions, share, alike) for lesions in LESIONS for share in SHARES for alike in (True, False)]
    rows = []
    for seed, (lesions, share, alike) in enumerate(tqdm(kinds, unit="kind")):
        bootstrapped, reported = covered(lesions, share, alike, given.runs, seed)
        rows.append({"lesions": lesions, "share": share, "alike": alike, "bootstrap": bootstrapped, "reported": reported})
    document = {"runs": given.runs, "rows": rows}
    machine.write("coverage", document)
    print(report(document))


if __name__ == "__main__":
    main()
