"""The clinic's figures pooled over seeds."""

import pandas as pd
import pytest

from benchmarks.clinic import Seed, pool, report

OUTPUTS = ["melanoma", "nevus"]


def seed(probabilities: list[float], triage: float, set_threshold: float) -> Seed:
    """A seed with four test images of four lesions, of which the first two are melanomas with these probabilities."""
    images = pd.DataFrame({"group": range(4), "diagnosis": ["melanoma", "melanoma", "nevus", "nevus"], "p_melanoma": probabilities})
    images["p_nevus"] = 1 - images["p_melanoma"]
    candidate = {
        "outputs": OUTPUTS,
        "label_set": {"malignant": ["melanoma"], "critical": "melanoma"},
        "decision_offsets": [1.0, 0.0],
        "set_thresholds": [set_threshold, set_threshold],
        "operating_points": {"triage": triage},
        "abstention_threshold": 0.55,
        "views": 8,
    }
    views = {
        str(count): {
            "repeatability": {
                change: {"changed_diagnosis": {"value": 1 / count}, "crosses_triage": {"value": 0.0}}
                for change in ("symmetries", "shift_1_px", "jpeg_95")
            }
        }
        for count in (1, 2, 4, 8)
    }
    reports = {
        "evaluation": {"prediction_sets": {"target": 0.9}, "test": {"balanced_accuracy": {"value": 0.75}}},
        "clinic": {"views": {"by_count": views}},
        "index": {"detected": {"value": 0.5}, "false_alarms": {"either": {"value": 0.0}}},
    }
    return Seed(images, candidate, reports)


def test_each_image_is_judged_by_the_thresholds_of_its_own_seed():
    found = pool([seed([0.9, 0.4, 0.1, 0.52], triage=0.3, set_threshold=0.2), seed([0.9, 0.4, 0.1, 0.52], triage=0.5, set_threshold=0.45)])

    shares = {name: estimate["value"] for name, estimate in found["shares"].items()}
    assert found["images"] == 8
    assert found["lesions"] == 4
    assert shares["triage sensitivity"] == 3 / 4
    assert shares["triage flags, benign"] == 1 / 2
    assert shares["covered"] == 7 / 8  # the melanoma of probability 0.4 is outside the second seed's set
    assert shares["critical covered"] == 3 / 4
    assert shares["abstained"] == 1 / 4
    assert shares["accuracy"] == 3 / 4  # the lift names the melanoma of 0.4, and the nevus of 0.48 wrongly
    assert shares["accuracy, abstained"] == 0
    assert found["views"]["4"]["symmetries"] == [0.25, 0.25]


def test_lift_is_told_apart_from_the_probabilities_that_are_given():
    calibration = pool([seed([0.9, 0.4, 0.1, 0.52], triage=0.3, set_threshold=0.2)])["calibration"]

    given, lifted = (calibration[f"critical, {said}"]["mean probability"]["value"] for said in ("as given", "with the lift"))
    assert given == pytest.approx(0.48)
    assert lifted > given + 0.1


def test_report_names_every_figure():
    found = pool([seed([0.9, 0.4, 0.1, 0.52], triage=0.3, set_threshold=0.2)])

    text = report(found, [1])

    assert "Seeds 1: 4 test images of 4 lesions, pooled. Sets are made to cover 0.9." in text
    assert "| triage sensitivity, melanoma " in text
    assert "| malignant, with the lift " in text
