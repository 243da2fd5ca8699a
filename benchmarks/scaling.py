"""Compare the cost per image of each stage between a large and a small dataset, from two results of pipeline.py.

    python -m benchmarks.scaling SMALL LARGE

SMALL and LARGE are names of folders in benchmarks/results/. Rarer classes get more views of each image, so the cost of stages that
process views is also given per training view, for fine-tuning per view of one epoch.
"""

import argparse
import statistics
from typing import Any

from benchmarks.harness import machine, summary
from benchmarks.harness.tables import Target, table
from benchmarks.pipeline import NAME

COST = Target(1.15, most=True)
PEAK_MB = Target(4000, most=True)
VIEWS = {"augment": "train", "embed": "embedded", "train": "embedded"}
"""Views that a stage processes: those for fine-tuning, or those for the head."""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("small")
    parser.add_argument("large")
    given = parser.parse_args()
    found = []
    for name in (given.small, given.large):
        document = machine.read(NAME, machine.RESULTS / name)
        if document is None:
            parser.error(f"{machine.RESULTS / name / NAME}.json does not exist. Run benchmarks/pipeline.py to create it.")
        found.append(document["rows"])
    print(report(*found))


def units(stage: str, row: dict[str, Any]) -> dict[str, float]:
    """Divisors of a stage's seconds: images of the dataset, and views if the stage processes views."""
    per: dict[str, float] = {"image": row["images"]}
    if stage in VIEWS:
        per["view"] = row["views"][VIEWS[stage]]
    if stage == "finetune":
        per["view and epoch"] = row["views"]["train"] * row["epochs"]
    return per


def milliseconds(stage: str, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Cost of a stage per unit, mean over seeds."""
    each = [{unit: 1000 * row["stages"][stage]["seconds"] / count for unit, count in units(stage, row).items()} for row in rows]
    return {unit: statistics.mean(one[unit] for one in each) for unit in each[0]}


def report(small: list[dict[str, Any]], large: list[dict[str, Any]]) -> str:
    """Both tables."""
    both = (small, large)
    costs, peaks = [], []
    for stage in summary.measured_stages([*small, *large]):
        one, other = (milliseconds(stage, rows) for rows in both)
        for unit in one:
            ratio = other[unit] / one[unit]
            costs.append([f"{stage}, per {unit}", f"{one[unit]:.2f}", f"{other[unit]:.2f}", f"{ratio:.2f}", COST.verdict(ratio)])
        before, after = (max(row["stages"][stage]["peak_mb"] for row in rows) for rows in both)
        peaks.append([stage, f"{before:.0f}", f"{after:.0f}", f"{after / before:.2f}", PEAK_MB.verdict(after)])
    images = [f"{statistics.mean(row['images'] for row in rows):.0f} images" for rows in both]
    size = [statistics.mean(row["build_bytes"] / row["images"] for row in rows) / 1024 for rows in both]
    costs.append(["build/, KiB per image", *(f"{one:.1f}" for one in size), f"{size[1] / size[0]:.2f}", ""])
    return "\n\n".join(
        [
            table(["milliseconds", *images, "ratio", f"ratio {COST}"], costs),
            table(["peak memory, MB", *images, "ratio", f"MB {PEAK_MB}"], peaks),
            f"Measured on {small[-1]['machine']}, and on {large[-1]['machine']}.",
        ]
    )


if __name__ == "__main__":
    main()
