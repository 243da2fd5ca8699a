from app import summary
from components.core.paths import EVALUATION, REGISTRATION
from components.core.reports.evaluation import Estimate
from tests.support import documents

EVALUATED = {
    "test": documents.metrics_on_test(balanced_accuracy=Estimate(0.5, 0.4, 0.6)),
    "shifts": {"blur": documents.shift_result(0.4, 0.1, 0.0, 0.2)},
}


def lines(tmp_path, monkeypatch, evaluated) -> list[str]:
    monkeypatch.chdir(tmp_path)
    documents.evaluation(**evaluated).write(EVALUATION)
    documents.registration().write(REGISTRATION)
    return summary.summary_lines()


def test_a_balanced_accuracy_on_few_lesions_of_a_class_is_marked(tmp_path, monkeypatch):
    said = lines(tmp_path, monkeypatch, {**EVALUATED, "few_groups": {"basal_cell_carcinoma": 3, "melanoma": 9}})
    assert "  balanced accuracy          0.500  [0.400, 0.600]" in said
    assert "Worst of 1 shifts: blur, balanced accuracy 0.400, a loss of 0.100 [0.000, 0.200]." in said
    assert any("fewer than 10 test lesions" in line and "basal cell carcinoma (3), melanoma (9)" in line for line in said)


def test_a_balanced_accuracy_on_enough_lesions_or_of_an_older_report_is_not(tmp_path, monkeypatch):
    assert not any("test lesions as" in line for line in lines(tmp_path, monkeypatch, {**EVALUATED, "few_groups": {}}))
    assert not any("test lesions as" in line for line in lines(tmp_path, monkeypatch, EVALUATED))
