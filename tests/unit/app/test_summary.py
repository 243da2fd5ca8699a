import pytest

from app import summary
from components.core.paths import CLINIC, EVALUATION, REGISTRATION
from components.core.reports.evaluation import Estimate
from tests.support import documents

EVALUATION_FIELDS = {
    "test": documents.metrics_on_test(balanced_accuracy=Estimate(0.5, 0.4, 0.6)),
    "shifts": {"blur": documents.shift_result(0.4, 0.1, 0.0, 0.2)},
}


def summarize(tmp_path, monkeypatch, evaluation_fields) -> list[str]:
    monkeypatch.chdir(tmp_path)
    documents.evaluation(**evaluation_fields).write(EVALUATION)
    documents.registration().write(REGISTRATION)
    return summary.summary_lines()


def test_summary_warns_about_classes_with_few_groups(tmp_path, monkeypatch):
    lines = summarize(tmp_path, monkeypatch, {**EVALUATION_FIELDS, "few_groups": {"basal_cell_carcinoma": 3, "melanoma": 9}})
    assert "  balanced accuracy          0.500  [0.400, 0.600]" in lines
    assert "Worst of 1 shifts: blur, balanced accuracy 0.400, a loss of 0.100 [0.000, 0.200]." in lines
    assert any("fewer than 10 test groups" in line and "basal cell carcinoma (3), melanoma (9)" in line for line in lines)


def test_summary_omits_warning_when_no_class_has_few_groups(tmp_path, monkeypatch):
    assert not any("test groups as" in line for line in summarize(tmp_path, monkeypatch, {**EVALUATION_FIELDS, "few_groups": {}}))
    assert not any("test groups as" in line for line in summarize(tmp_path, monkeypatch, EVALUATION_FIELDS))


def test_summary_names_worst_subgroup_and_what_is_not_known(tmp_path, monkeypatch):
    measured = {"age": {"0-29": documents.subgroup(0.7), "70+": documents.subgroup(0.4)}, "sex": {"male": documents.subgroup()}}
    lines = summarize(tmp_path, monkeypatch, {**EVALUATION_FIELDS, "subgroups": measured})
    assert "Worst subgroup: age 70+, balanced accuracy 0.400 [0.300, 0.500]." in lines
    assert "No subgroups by site, skin type, collection, resolution: the test images have fewer than two known values." in lines


def test_summary_without_figures_by_subgroup_says_why(tmp_path, monkeypatch):
    few = summarize(tmp_path, monkeypatch, {**EVALUATION_FIELDS, "subgroups": {"sex": {"male": documents.subgroup()}}})
    assert "No subgroup has enough test groups for figures." in few
    assert "Not measured on subgroups: `dvc repro` does." in summarize(tmp_path, monkeypatch, EVALUATION_FIELDS)


def test_summary_prints_triage_point(tmp_path, monkeypatch):
    documents.clinic().write(tmp_path / CLINIC)
    lines = summarize(tmp_path, monkeypatch, EVALUATION_FIELDS)
    assert (
        "Triage: sensitivity 0.900 [0.800, 0.950], specificity 0.400 [0.300, 0.500], 60% of the images flagged"
        " (malignant probability of at least 0.123)." in lines
    )
    assert "  of each class found: basal cell carcinoma 0.900, melanoma 1.000" in lines


@pytest.mark.parametrize("triage", [True, False])
@pytest.mark.parametrize(("count", "counted"), [(1, "1 view"), (8, "the mean of 8 views")])
def test_summary_says_how_repeatable_answers_are(tmp_path, monkeypatch, triage, count, counted):
    documents.clinic(triage).model_copy(update={"views": documents.views(count)}).write(tmp_path / CLINIC)
    line = f"Probabilities from {counted} of an image; mirrored, moved by a pixel or compressed, at most "
    assert f"{line}0.020 [0.000, 0.100] change diagnosis." in summarize(tmp_path, monkeypatch, EVALUATION_FIELDS)


def test_summary_without_triage_point_says_why(tmp_path, monkeypatch):
    assert "Not measured at operating points: `dvc repro` does." in summarize(tmp_path, monkeypatch, EVALUATION_FIELDS)
    documents.clinic(triage=False).write(tmp_path / CLINIC)
    lines = summarize(tmp_path, monkeypatch, EVALUATION_FIELDS)
    assert not any("triage" in line.lower() or "operating" in line for line in lines)
