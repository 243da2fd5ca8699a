from app import summary
from components.core.files import write_json
from components.core.paths import EVALUATION, REGISTRATION

EVALUATED = {
    "picked": "frozen",
    "test": {"images": 40, "groups": 30, "balanced_accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}},
    "shifts": {"blur": {"balanced_accuracy": 0.4, "drop": {"value": 0.1, "low": 0.0, "high": 0.2}}},
}
REGISTERED = {"model": "m", "version": "1", "champion": "1", "gate_passed": True, "gate": [], "warning": None}


def lines(tmp_path, monkeypatch, evaluated) -> list[str]:
    monkeypatch.chdir(tmp_path)
    write_json(EVALUATION, evaluated)
    write_json(REGISTRATION, REGISTERED)
    return summary.lines()


def test_a_balanced_accuracy_on_few_lesions_of_a_class_is_marked(tmp_path, monkeypatch):
    said = lines(tmp_path, monkeypatch, {**EVALUATED, "few_groups": {"basal_cell_carcinoma": 3, "melanoma": 9}})
    assert "  balanced accuracy          0.500  [0.400, 0.600]" in said
    assert any("fewer than 10 test lesions" in line and "basal cell carcinoma (3), melanoma (9)" in line for line in said)


def test_a_balanced_accuracy_on_enough_lesions_or_of_an_older_report_is_not(tmp_path, monkeypatch):
    assert not any("test lesions as" in line for line in lines(tmp_path, monkeypatch, {**EVALUATED, "few_groups": {}}))
    assert not any("test lesions as" in line for line in lines(tmp_path, monkeypatch, EVALUATED))
