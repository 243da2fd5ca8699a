"""The tables of a search's benchmark, of the parts that were measured."""

from benchmarks.search import SETTINGS, report

ESTIMATE = {"value": 0.5, "low": 0.4, "high": 0.6}
FOLDS = {"images": 90, "groups": 80, "mean": {"balanced_accuracy": ESTIMATE}, "recall": {"nevus": ESTIMATE}}
SEARCH = {
    "seconds": 500.0,
    "seconds_per_trial": 5.0,
    "counts": {"complete": 60, "pruned": 40},
    "best": {"train.dropout": 0.1},
    "present": {"train.dropout": 0.3},
    "best_value": 0.6,
    "present_value": 0.55,
}
DIFFERENCE = {"before": 0.5, "after": 0.52, "change": {"value": 0.02, "low": -0.01, "high": 0.05}, "standard_error": 0.011}
TEST = {name: {"head": ESTIMATE, "picked": ESTIMATE, "phase": "finetuned"} for name in SETTINGS}
MACHINE = {"machine": {"cpu": "Example", "cores": 2}}
"""What a benchmark keeps beside the figures of each part."""


def test_report_has_the_parts_that_were_measured():
    folds = {**FOLDS, "seconds": 58.2, "seconds_without_cache": 270.0}
    first = report({"seed": 0, "folds": {**MACHINE, **folds}})
    every = report(
        {
            "seed": 0,
            "folds": folds,
            "search": {**MACHINE, **SEARCH},
            "tuned": {**FOLDS, "differences": {"balanced_accuracy": DIFFERENCE}},
            "over_folds": {"seconds_per_trial": 40.0},
            "test": {**MACHINE, **TEST},
            "finetuned": {**FOLDS, "seconds": 4000.0, "differences": {"balanced_accuracy": {**DIFFERENCE, "standard_error": 0.017}}},
        }
    )

    assert "90 images of 80 lesions, without test" in first
    assert "with its cache" in first
    assert "58.2" in first
    assert "standard error" not in first
    for cell in (
        "60 complete, 40 pruned",
        "0.1 (0.3)",
        "0.020 [-0.010, 0.050]",
        "0.011",
        "0.017",
        "4000.0",
        "on test, tuned setting, finetuned",
        "40.0",
    ):
        assert cell in every


def test_report_of_no_part_is_a_line():
    assert report({"seed": 3}).startswith("Seed 3.")
