from dataclasses import replace

import pytest

from app.models.prediction_rows import Row, RowForm
from app.models.prediction_tables import details, head_lines, image_line
from components.serving.answers import TOO_UNCERTAIN, UNLIKE_TRAINING, Contract, MeasuredPoint, Spread, answer

PROBABILITIES = {"melanoma": 0.30, "nevus": 0.45, "seborrheic_keratosis": 0.25}
CONTRACT = Contract(
    outputs=tuple(PROBABILITIES),
    malignant=("melanoma",),
    set_thresholds=(0.2, 0.5, 0.3),
    abstention_threshold=0.4,
    operating_points={"triage": 0.25, "rule_in": 0.8},
    measured_points={"triage": MeasuredPoint(sensitivity=0.951, specificity=0.45)},
    class_shares={"melanoma": 0.5, "nevus": 0.25, "seborrheic_keratosis": 0.25},
)
FORM = RowForm("lesions", "7", CONTRACT)
FOUND = answer(CONTRACT, "nevus", PROBABILITIES)
UNSURE = answer(CONTRACT, "nevus", {"melanoma": 0.33, "nevus": 0.34, "seborrheic_keratosis": 0.33})


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")


def in_order(text: str, *parts: str) -> bool:
    positions = [text.index(part) for part in parts]
    return positions == sorted(positions)


def test_details_give_alarm_first_then_diagnosis_ranking_and_points_with_their_measures():
    text = details(Row("a.jpg", FOUND), FORM)
    assert in_order(
        text,
        "lesions version 7",
        "at or above triage",
        "named: nevus",
        "prediction set",
        "nevus ",
        "melanoma ",
        "seborrheic keratosis ",
        "malignant: 0.300",
        "at or above triage (sensitivity 0.951, specificity 0.450 on test)",
        "prevalence behind the probabilities: melanoma 50 %, nevus 25 %",
    )
    in_set = {line.split("┃")[0].split("│")[0].strip() for line in text.splitlines() if line.rstrip().endswith("yes")}
    assert in_set == {"nevus", "melanoma"}
    assert "rule in" not in text
    assert "training" not in text


def test_details_withhold_ranking_of_abstention_and_give_all_reasons():
    text = details(Row("a.jpg", replace(UNSURE, abstained=(UNLIKE_TRAINING, TOO_UNCERTAIN))), FORM)
    assert in_order(text, "at or above triage", f"no answer: {UNLIKE_TRAINING}", f"no answer: {TOO_UNCERTAIN}", "malignant: 0.330")
    assert not [name for name in ("named", "prediction set", "0.340") if name in text]


def test_details_show_spread_of_views_and_of_pictures():
    views = Spread({"melanoma": (0.2, 0.4), "nevus": (0.45, 0.45), "seborrheic_keratosis": (0.2, 0.3)}, (0.2, 0.4))
    text = details(Row("a.jpg", replace(FOUND, view_spread=views)), FORM)
    assert in_order(text, "views", "0.450 to 0.450", "0.200 to 0.400", "malignant: 0.300 [0.200 to 0.400]")
    assert "smallest and largest probability of the mirrored and turned views" in text
    pictures = replace(views, outputs={**views.outputs, "melanoma": (0.1, 0.5)})
    text = details(Row("a.jpg, b.jpg", replace(FOUND, view_spread=views, picture_spread=pictures, pictures=2)), FORM)
    assert in_order(text, "pictures", "0.100 to 0.500")
    assert "smallest and largest probability of the 2 pictures of the lesion" in text


def test_details_count_nearest_cases_and_tell_picture_of_training():
    text = details(Row("a.jpg", replace(FOUND, neighbour_counts={"melanoma": 5, "nevus": 11, "wart": 0}, in_training=True)), FORM)
    assert "of the 16 nearest training cases: 11 nevus, 5 melanoma" in text
    assert "this picture was in the training data" in text


def test_lines_have_alarm_answer_and_image():
    assert head_lines(FORM).splitlines()[0] == "lesions version 7"
    assert image_line(Row("a.jpg", FOUND)).split() == ["at", "or", "above", "triage", "nevus", "0.450", "0.300", "a.jpg"]
    assert " ".join(image_line(Row("a.jpg", UNSURE)).split()) == "at or above triage no answer: too uncertain 0.330 a.jpg"
    assert image_line(Row("a.jpg", error="empty file")).split() == ["unreadable:", "empty", "file", "a.jpg"]


def test_version_of_older_release_has_probabilities_alone():
    form, found = RowForm("lesions", "1", Contract()), answer(Contract(), "nevus", PROBABILITIES)
    assert in_order(details(Row("a.jpg", found), form), "named: nevus", "nevus", "0.450", "melanoma", "0.300")
    row = form.as_object(Row("a.jpg", found))
    assert {row[key] for key in ("alarm", "malignant_probability", "prediction_set", "prevalence", "in_training")} == {None}
    assert row["probabilities"] == PROBABILITIES
