"""What the page prints about an answer, without a server."""

from dataclasses import replace

import pytest

from app.server.page.evidence import bin_of
from app.server.page.facts import Facts, SkinTypes
from app.server.page.form import Impression
from app.server.page.lesion import Computed
from app.server.page.view import Asked, ResultView, view
from app.server.page.wording import percent
from components.core.reports.clinic import CalibrationBin
from components.core.reports.evaluation import Estimate
from components.serving.answers import (
    NOT_DERMOSCOPIC,
    REASONS,
    TOO_UNCERTAIN,
    Answer,
    Contract,
    MeasuredPoint,
    SimilarCase,
    Spread,
)

CONTRACT = Contract(
    outputs=("melanoma", "nevus", "solar_lentigo"),
    malignant=("melanoma",),
    operating_points={"rule_in": 0.9, "triage": 0.1},
    measured_points={"triage": MeasuredPoint(sensitivity=0.95, specificity=0.4)},
    clinic_shares={"melanoma": 0.01, "nevus": 0.9, "solar_lentigo": 0.09},
)
ANSWER = Answer(
    diagnosis="nevus",
    probabilities={"melanoma": 0.2, "nevus": 0.5, "solar_lentigo": 0.3},
    malignant=0.2,
    operating_points={"rule_in": False, "triage": True},
    prediction_set=("nevus", "solar_lentigo"),
    similar=(SimilarCase("nevus", "HAM10000", 0.1, "CC BY-NC 4.0", "Tschandl", 7), SimilarCase("melanoma", "", 0.2, "", "", None)),
    neighbour_counts={"nevus": 12, "melanoma": 4},
)
FACTS = Facts(
    image_size=96,
    test_images=140,
    curve=tuple(
        CalibrationBin(images=20, lowest=lowest, highest=highest, observed=Estimate(observed, observed / 2, 1.0), probability=mean)
        for observed, lowest, mean, highest in ((0.05, 0.005, 0.01, 0.02), (0.25, 0.03, 0.08, 0.39), (0.9, 0.4, 0.8, 0.95))
    ),
    skin_types=SkinTypes(known={"II": 30, "V": 2}, unknown=108),
)


def shown(answer: Answer = ANSWER, facts: Facts = FACTS, asked: Asked = Asked("3")) -> ResultView:  # noqa: B008 (frozen)
    return view(Computed(answer, (), {}, {7: "data:,"}), CONTRACT, facts, asked)


def test_all_diagnoses_are_listed_by_probability_with_named_one_and_line_of_set():
    lines = shown().lines
    assert [(line.name, line.share, line.named, line.in_set, line.ends_set) for line in lines] == [
        ("nevus", "50.0\xa0%", True, True, False),
        ("solar lentigo", "30.0\xa0%", False, True, True),
        ("melanoma", "20.0\xa0%", False, False, False),
    ]
    assert [float(line.exact) for line in lines] == [0.5, 0.3, 0.2]
    assert [line.width for line in lines] == ["50.00", "30.00", "20.00"]


@pytest.mark.parametrize("members", [("nevus", "melanoma"), ("nevus", "solar_lentigo", "melanoma"), (), None])
def test_set_without_a_single_boundary_has_no_line(members):
    lines = shown(replace(ANSWER, prediction_set=members)).lines
    assert not any(line.ends_set for line in lines)
    assert {line.name for line in lines if line.in_set} == {name.replace("_", " ") for name in members or ()}


def test_malignant_probability_has_operating_points_and_test_images_like_it():
    found = shown()
    assert (found.malignant, found.measured_on) == ("20.0\xa0%", "140 test images")
    assert [(point.name, point.threshold, point.reached, point.sensitivity, point.specificity) for point in found.points] == [
        ("triage", "10.0\xa0%", True, "95\xa0%", "40\xa0%"),
        ("rule in", "90.0\xa0%", False, "not known", "not known"),
    ]
    assert found.notes == (
        "Of 20 test images with such a malignant probability (3.0\xa0% to 39.0\xa0%), 5 were malignant [95\xa0% interval 12 to 100\xa0%],"
        " on pictures like those measured.",
        "No malignant diagnosis remains in the prediction set, on pictures like those measured.",
    )


def test_one_malignant_image_is_written_in_the_singular():
    assert "(0.5\xa0% to 2.0\xa0%), 1 was malignant" in shown(replace(ANSWER, malignant=0.0)).notes[0]


@pytest.mark.parametrize(
    ("probability", "lowest"), [(0.0, 0.005), (0.025, 0.005), (0.03, 0.03), (0.39, 0.03), (0.399, 0.03), (0.4, 0.4), (1.0, 0.4)]
)
def test_probability_belongs_to_the_last_bin_that_begins_at_or_below_it(probability, lowest):
    assert bin_of(FACTS.curve, probability).lowest == lowest


def test_bins_of_an_older_release_are_told_by_their_mean():
    curve = tuple(CalibrationBin(images=20, observed=found.observed, probability=found.probability) for found in FACTS.curve)

    assert "(mean 8.0\xa0%), 5 were malignant" in shown(facts=replace(FACTS, curve=curve)).notes[0]


def test_set_with_malignant_diagnosis_or_no_set_is_not_called_free_of_them():
    for members in (("nevus", "melanoma"), None):
        assert not any("No malignant" in note for note in shown(replace(ANSWER, prediction_set=members)).notes)


def test_alarm_names_probability_and_threshold():
    assert shown().alarm == "The malignant probability of 20.0\xa0% reaches the operating point triage (10.0\xa0%)."
    assert shown(replace(ANSWER, operating_points={"triage": False})).alarm == ""


def test_abstention_withholds_all_that_ranks_but_not_the_alarm():
    spread = Spread({"melanoma": (0.1, 0.3), "nevus": (0.4, 0.6), "solar_lentigo": (0.2, 0.4)}, (0.1, 0.3))
    hidden = replace(ANSWER, abstained=(NOT_DERMOSCOPIC, TOO_UNCERTAIN), view_spread=spread, shifted=ANSWER.probabilities)
    found = shown(hidden, asked=Asked("3", impression=Impression("melanoma", "sure")))
    assert found.alarm
    assert len(found.reasons) == 2
    assert found.impression == ("melanoma, sure", "no answer")
    withheld = (found.lines, found.malignant, found.points, found.notes, found.counts, found.cases, found.spreads, found.prevalence)
    assert not any(withheld)
    assert found.explained == ""
    assert "nevus" not in repr(found)


def test_every_reason_to_abstain_is_a_sentence():
    for reason in REASONS:
        sentence = shown(replace(ANSWER, abstained=(reason,))).reasons[0]
        assert sentence.endswith(".")
        assert sentence[0].isupper()


def test_similar_cases_are_counted_and_have_license_and_attribution():
    found = shown()
    assert found.counts == "12 nevus, 4 melanoma"
    assert [(case.diagnosis, case.picture, case.source) for case in found.cases] == [
        ("nevus", "data:,", "Tschandl, HAM10000, CC BY-NC 4.0"),
        ("melanoma", "", "license not known"),
    ]


def test_limits_say_what_the_model_does_not_know_and_whose_skin_was_measured():
    limits = shown(replace(ANSWER, in_training=True)).limits
    assert "not age, sex, site" in limits[0]
    assert limits[1].endswith("30 of type II, 2 of type V; not known for 108 of 140.")
    assert "training data" in limits[2]
    unknown = replace(FACTS, skin_types=SkinTypes(known={}, unknown=140))
    assert shown(facts=unknown).limits[1].endswith("not known for any of the 140.")


def test_several_pictures_show_both_spreads_and_prevalence_of_the_clinic():
    spread = Spread({"melanoma": (0.1, 0.3), "nevus": (0.4, 0.4001), "solar_lentigo": (0.2, 0.4)}, (0.1, 0.3))
    found = shown(replace(ANSWER, pictures=2, picture_spread=spread, view_spread=spread, shifted={"nevus": 0.97, "melanoma": 0.03}))
    assert [table.what for table in found.spreads] == ["Between the 2 pictures", "Between mirrored and turned views of the same pixels"]
    assert found.spreads[0].rows[:2] == (("malignant", "10.0\xa0% to 30.0\xa0%"), ("nevus", "40.0\xa0%"))
    assert found.prevalence == (("nevus", "90.0\xa0%", "97.0\xa0%"), ("melanoma", "1.0\xa0%", "3.0\xa0%"))


def test_version_that_changed_after_the_page_was_opened_is_told():
    assert "Version 4 answered" in shown(asked=Asked("4", "3")).moved
    assert shown(asked=Asked("3", "3")).moved == shown(asked=Asked("3")).moved == ""


def test_version_without_evidence_says_so():
    found = shown(facts=Facts(image_size=96))
    assert "is not known" in found.notes[0]
    assert found.limits[1] == "Skin types behind the figures: not known."


def test_answer_without_pictures_cannot_be_shown():
    with pytest.raises(ValueError, match="no answer"):
        view(Computed(None, (), {1: "empty"}, {}), CONTRACT, FACTS, Asked("3"))


PERCENTS = {0.0: "0.0", 1e-9: "< 0.1", 0.123: "12.3", 0.99999: "> 99.9", 1.0: "100.0"}


@pytest.mark.parametrize(("share", "text"), PERCENTS.items())
def test_percent_never_rounds_to_certainty(share, text):
    assert percent(share) == f"{text}\xa0%"
