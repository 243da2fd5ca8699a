"""What another setting changes, fold by fold."""

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

from app.search_commands import cv
from components.core.errors import LesionflowError
from components.core.reports.cross_validation import CrossValidation, Fold
from components.core.reports.evaluation import Estimate
from components.search.comparison import compare
from tests.support.labels import BENIGN_MALIGNANT, ISIC9

BEFORE = [0.40, 0.50, 0.45, 0.55, 0.60]
CHANGES = [0.03, 0.01, 0.04, 0.02, 0.05]


def report(values: list[float], **fields: object) -> CrossValidation:
    folds = tuple(Fold(0, number, 20, 5, {"balanced_accuracy": value}) for number, value in enumerate(values))
    mean = {"balanced_accuracy": Estimate(float(np.mean(values)), 0.0, 1.0)}
    empty = {name: {} for name in ("pooled", "recall", "subgroups")}
    written = {"deal": "a", "held_out_share": 1 / 3, "images": 100, "groups": 100, "label_set": ISIC9, "suspects": (), **empty, **fields}
    return CrossValidation(calibration=(), confusion=[], folds=folds, mean=mean, **written)


def changed(changes: list[float]) -> list[float]:
    return [value + change for value, change in zip(BEFORE, changes, strict=True)]


def test_difference_is_of_pairs_of_folds_with_the_corrected_error():
    found = compare(report(BEFORE), report(changed(CHANGES)))["balanced_accuracy"]

    error = np.sqrt((1 / 5 + 1 / 3) * np.var(CHANGES, ddof=1))
    assert (found.before, found.after) == pytest.approx((0.50, 0.53))
    assert found.standard_error == pytest.approx(error)
    assert found.change.value == pytest.approx(0.03)
    half = stats.t.ppf(0.975, 4) * error
    assert (found.change.low, found.change.high) == pytest.approx((0.03 - half, 0.03 + half))
    assert found.is_clear


def test_order_of_the_folds_in_a_report_does_not_matter():
    later = report(changed(CHANGES))
    turned = later.model_copy(update={"folds": later.folds[::-1]})

    assert compare(report(BEFORE), turned) == compare(report(BEFORE), later)


def test_difference_within_one_standard_error_is_not_clear():
    assert not compare(report(BEFORE), report(changed([0.06, -0.05, 0.04, -0.06, 0.03])))["balanced_accuracy"].is_clear
    assert not compare(report(BEFORE), report(BEFORE))["balanced_accuracy"].is_clear


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (report(BEFORE, deal="b"), "do not hold out the same images"),
        (report(BEFORE, deal=""), "do not hold out the same images"),
        (report(BEFORE).model_copy(update={"mean": {}}), "a report has no balanced accuracy"),
        (report(BEFORE, label_set=BENIGN_MALIGNANT), "the label sets differ: isic9 before, binary after"),
    ],
)
def test_reports_of_other_folds_or_classes_are_refused(after, said):
    with pytest.raises(LesionflowError, match=said):
        compare(report(BEFORE), after)


def test_command_prints_the_difference_and_whether_it_is_clear(tmp_path):
    for name, values in (("before", BEFORE), ("after", changed(CHANGES))):
        report(values).write(tmp_path / f"{name}.json")

    done = CliRunner().invoke(cv, ["compare", str(tmp_path / "before.json"), str(tmp_path / "after.json")])
    lines = done.output.splitlines()

    assert done.exit_code == 0, done.output
    assert lines[1].split() == ["balanced", "accuracy", "0.500", "0.530", "+0.030", "[-0.002,", "+0.062]", "0.012"]
    assert lines[-1] == "balanced accuracy is higher by more than one standard error (5 folds; test was not read)"


@pytest.mark.parametrize(("content", "said"), [(None, "does not exist"), ("{", "is not valid JSON"), ("{}", "calibration")])
def test_report_that_cannot_be_read_is_an_error_of_its_name(tmp_path, content, said):
    before = tmp_path / "before.json"
    if content is not None:
        before.write_text(content, encoding="utf-8")

    done = CliRunner().invoke(cv, ["compare", str(before)])

    assert done.exit_code == 1
    assert all(line.startswith("error: ") for line in done.output.splitlines())
    assert "before.json" in done.output
    assert said in done.output


def test_folder_is_named_instead_of_a_report(tmp_path):
    done = CliRunner().invoke(cv, ["compare", str(tmp_path)])

    assert done.exit_code == 2
    assert "is a directory" in done.output
