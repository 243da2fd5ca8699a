"""What the last run of the pipeline came to, for a person."""

from typing import Any

from components.core.files import read_json
from components.core.paths import EVALUATION, REGISTRATION
from components.evaluation.predictions import FEW_GROUPS
from components.evaluation.shifts import worst

FURTHER = (
    ("make ui", "runs, models and versions in MLflow, on http://127.0.0.1:5000"),
    ("xdg-open reports/validation/index.html", "Data Docs: what validation found"),
    ("dvc plots show --open", "curves, confusion matrix, calibration, mistakes"),
)


def lines() -> list[str]:
    """The test figures, the version and its place, and three commands to look further."""
    evaluation, registration = read_json(EVALUATION), read_json(REGISTRATION)
    test = evaluation["test"]
    figures = {name: row for name, row in test.items() if isinstance(row, dict)}
    place = "champion" if registration["champion"] == registration["version"] else "challenger"
    failed = [rule for rule in registration["gate"] if not rule["passed"]]
    gate = "passed" if registration["gate_passed"] else "not passed: " + "; ".join(f"{rule['name']}, {rule['says']}" for rule in failed)
    return [
        "",
        f"Test figures of the {evaluation['picked']} model on {test['images']} images of {test['groups']} lesions, with 95 % intervals:",
        *(f"  {name.replace('_', ' '):<26} {row['value']:.3f}  [{row['low']:.3f}, {row['high']:.3f}]" for name, row in figures.items()),
        *_few(evaluation.get("few_groups", {})),
        *_shifts(evaluation.get("shifts")),
        *_left_out(evaluation.get("collections_left_out", {})),
        "",
        f"Registered as {registration['model']} version {registration['version']}: {place}. Gate {gate}.",
        *([f"Warning: {registration['warning']}."] if registration["warning"] else []),
        *([] if place == "champion" else [f"Champion: {registration['champion'] or 'none yet'}."]),
        "",
        "Look further:",
        *(f"  {command:<40} {what}" for command, what in FURTHER),
    ]


def _few(groups: dict[str, int]) -> list[str]:
    if not groups:
        return []
    listed = ", ".join(f"{name.replace('_', ' ')} ({count})" for name, count in groups.items())
    return [f"Balanced accuracy is uncertain: it counts classes with fewer than {FEW_GROUPS} test lesions as much as others: {listed}."]


def _shifts(costs: dict[str, Any] | None) -> list[str]:
    if costs is None:
        return ["Not measured under shifts: `dvc repro` does."]
    name = worst(costs)
    row, drop = costs[name], costs[name]["drop"]
    return [
        f"Worst of {len(costs)} shifts: {name.replace('_', ' ')}, balanced accuracy {row['balanced_accuracy']:.3f},"
        f" a loss of {drop['value']:.3f} [{drop['low']:.3f}, {drop['high']:.3f}]."
    ]


def _left_out(costs: dict[str, dict[str, Any]]) -> list[str]:
    return [
        f"A linear head that never saw {name} loses {row['drop']['value']:.3f} [{row['drop']['low']:.3f}, {row['drop']['high']:.3f}] there,"
        f" on {row['images']} images of {len(row['classes'])} classes."
        for name, row in costs.items()
    ]
