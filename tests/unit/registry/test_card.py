"""The model card has every row of every version, tells why a value is missing, and holds no markup of names."""

import json
import re

import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components.core.errors import LesionflowError
from components.core.reports.statements import Statements
from components.data_quality.findings import KINDS
from components.registry.background import Background
from components.registry.card import rendering
from components.registry.card.build import build_card
from components.registry.card.model import Card
from components.registry.card.rows import GUIDELINES, SUBJECTS
from tests.support import card as cards
from tests.support import untrusted_text
from tests.support.html import tags_of
from tests.support.labels import BENIGN_MALIGNANT, ISIC9, RASH
from tests.support.project import ROOT

NO_CRITICAL = ISIC9.model_copy(update={"critical": None})
BARE = cards.catalog(collections=(None,))
"""A dataset without metadata."""
MISSING = {"not recorded": "not recorded in this dataset", "not measured": "not measured", "not stated": "not stated"}


def without_metadata() -> Background:
    return cards.full_background(cohort=cards.cohort(BARE))


CASES = {
    "full evidence": lambda: cards.sources(),
    "no malignant class": lambda: cards.sources(RASH),
    "no critical class": lambda: cards.sources(NO_CRITICAL),
    "two classes": lambda: cards.sources(BENIGN_MALIGNANT),
    "one collection": lambda: cards.sources(background=cards.full_background(cohort=cards.cohort(cards.catalog(collections=("a",))))),
    "no metadata": lambda: cards.sources(background=without_metadata()),
    "older version": lambda: cards.sources(background=Background(), evaluation=cards.documents.evaluation()),
}


@pytest.fixture(scope="module", params=CASES)
def card(request) -> Card:
    return build_card(CASES[request.param]())


def entry(card: Card, row: str, name: str) -> tuple[str, str]:
    found = card.rows[row].entries[name]
    return found.state, found.text


def test_every_row_is_there_and_tells_something(card):
    assert list(card.rows) == list(SUBJECTS)
    page = rendering.card_page(card)
    for key, row in card.rows.items():
        assert row.entries, key
        assert f"\n### {row.title}\n" in page
        for name, found in row.entries.items():
            assert found.text.strip(), (key, name)
            assert found.state == "given" or found.text.startswith(MISSING[found.state]), (key, name)
            assert not re.search(r"\bnan\b|\bNone\b", found.text), (key, name, found.text)


def test_card_is_valid_markdown_yaml_and_json(card, tmp_path):
    rendering.write_card(card, tmp_path / "card")
    assert Card.read(tmp_path / "card" / rendering.DOCUMENT) == card
    page = (tmp_path / "card" / rendering.CARD).read_text(encoding="utf-8")
    _, head, body = page.split("---\n", 2)
    found = yaml.safe_load(head)
    assert {"license", "library_name", "tags", "metrics", "model-index"} <= set(found)
    [result] = found["model-index"][0]["results"]
    assert {"type": "balanced_accuracy", "name": "balanced accuracy", "value": 0.7} in result["metrics"]
    assert body.count("```") % 2 == 0
    assert "\n\n\n" not in body
    columns = [line.count(" | ") for line in body.splitlines() if line.startswith("|")]
    assert columns


def test_equal_evidence_gives_equal_bytes(tmp_path):
    for name in ("a", "b"):
        rendering.write_card(build_card(cards.sources()), tmp_path / name)
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_checklist_links_each_item_to_a_heading(card):
    page, checklist = rendering.card_page(card), rendering.checklist_page(card)
    headings = {line.removeprefix("### ").lower().replace(" ", "-") for line in page.splitlines() if line.startswith("### ")}
    links = re.findall(r"\(card\.md#([^)]*)\)", checklist)
    assert set(links) == headings
    for guideline in GUIDELINES:
        assert f"\n## {guideline.replace('(', '(')}\n" in checklist
    assert len(links) == sum(len(row.asked_by) for row in card.rows.values())


def test_what_dataset_does_not_tell_is_counted():
    card = build_card(CASES["no metadata"]())
    for row, name in (
        *(("image_sources", name) for name in ("sources", "collections", "licenses", "attribution", "devices", "dates")),
        *(("population", name) for name in ("age", "sex", "site", "skin_type", "patients")),
        ("reference_standard", "confirmation"),
    ):
        assert entry(card, row, name) == ("not recorded", "not recorded in this dataset (n = 90)"), (row, name)
    assert entry(card, "reference_standard", "malignant_by_histology") == ("not recorded", "not recorded in this dataset (n = 40)")
    by_class = card.rows["reference_standard"].tables["by_class"]
    assert by_class.columns == ("class", "not known")
    assert by_class.rows[0] == ("actinic keratosis", 10)


def test_reference_standard_is_counted_by_class():
    files = cards.catalog()
    ways = {path: "histopathology" if number % 2 else "serial imaging showing no change" for number, path in enumerate(files["path"])}
    del ways["melanoma/0.png"]
    card = build_card(cards.sources(background=cards.full_background(cohort=cards.cohort(files, ways))))
    assert entry(card, "reference_standard", "confirmation")[1] == "known of 89 of 90 images"
    assert entry(card, "reference_standard", "malignant_by_histology")[1] == "20 of 40"
    by_class = card.rows["reference_standard"].tables["by_class"]
    assert by_class.columns == ("class", "histopathology", "serial imaging showing no change", "not known")
    assert ("melanoma", 5, 4, 1) in by_class.rows


def test_label_set_without_malignant_class_says_so():
    card = build_card(CASES["no malignant class"]())
    reason = "not measured: the label set does not tell malignant from benign"
    assert entry(card, "accuracy", "malignant_sensitivity")[1] == reason
    assert entry(card, "net_benefit", "net_benefit")[1] == reason
    assert entry(card, "thresholds", "operating_points")[1] == reason
    assert entry(card, "accuracy", "critical_sensitivity")[1] == "not measured: the label set has no critical class"


def test_flow_counts_every_file_once():
    files = cards.catalog()
    files.loc[:2, "usable"], files.loc[:2, "reason"] = False, ["too_small: 3 x 3", "dropped: decisions.csv", "label_conflict: x"]
    card = build_card(cards.sources(background=cards.full_background(cohort=cards.cohort(files))))
    row = card.rows["exclusions"]
    assert [(step.name, step.files, step.left_out) for step in row.flow] == [
        ("files in the dataset", 91, {}),
        ("readable images", 90, {"unreadable": 1}),
        ("images used", 87, {"label conflict": 1, "too small": 1, "dropped by a reviewer": 1}),
        ("in train", 29, {}),
        ("in validation", 29, {}),
        ("in test", 29, {}),
    ]
    assert ("too small", KINDS["too_small"], 1) in row.tables["reasons"].rows
    diagram = rendering.flow_diagram(row)
    assert 'out1["1 left out<br>unreadable: 1"]' in diagram
    assert "step2 --> step5" in diagram
    assert entry(card, "exclusions", "left_out_by_import")[0] == "not recorded"


def test_unreadable_file_that_a_reviewer_dropped_counts_once():
    files = cards.catalog()
    files.loc[files["format"].isna(), "reason"] = "dropped: decisions.csv"
    flow = build_card(cards.sources(background=cards.full_background(cohort=cards.cohort(files)))).rows["exclusions"].flow
    assert [step.left_out for step in flow[1:3]] == [{"unreadable": 1}, {}]


def test_person_states_what_cannot_be_measured():
    statements = Statements(users="dermatologists", devices="one dermoscope", stop_when="the lamp changes")
    card = build_card(cards.sources(background=cards.full_background(statements=statements)))
    assert entry(card, "intended_use", "users") == ("given", "dermatologists")
    assert entry(card, "intended_use", "setting") == ("not stated", "not stated")
    assert entry(card, "image_sources", "devices") == ("given", "one dermoscope")
    assert entry(card, "stopping", "stop_when") == ("given", "the lamp changes")


def test_card_says_what_leaves_with_version_and_what_phone_cannot_tell():
    page = rendering.card_page(build_card(CASES["full evidence"]()))
    assert "**Features of training images**: leave with the version" in page
    assert 'it cannot tell "unlike anything in training"' in page
    assert "**Features of training images**: this version holds none" in rendering.card_page(build_card(CASES["older version"]()))
    assert "Small pictures leave of these collections only: synthetic" in page
    assert "not a medical device" in page
    assert "2017/745" in page


def test_index_gives_thresholds_false_alarms_and_detection():
    rows = build_card(CASES["full evidence"]()).rows
    names = {
        "robustness": ("not_lesions",),
        "uncertainty": ("not_dermoscopic", "unlike_training", "neighbours"),
        "thresholds": ("novelty",),
    }
    assert {rows[row].entries[name].state for row, entries in names.items() for name in entries} == {"given"}
    assert rows["robustness"].tables["not_lesions"].rows


def test_repeatability_is_that_of_the_number_of_views():
    row = build_card(CASES["full evidence"]()).rows["robustness"]
    assert row.entries["views"].text == "2 views, turned and mirrored, chosen on validation"
    assert row.entries["repeatability"].text.startswith("symmetries: 0.700 [")
    assert len(row.tables["repeatability"].rows) == 2


def test_card_does_not_hold_verdict_of_gate(card):
    text = rendering.card_page(card) + json.dumps(card.model_dump(mode="json"))
    assert not re.search(r"\bgate\b|\bpassed\b|\bfailed\b", text, re.IGNORECASE)


@untrusted_text.FEW_EXAMPLES
@given(st.lists(untrusted_text.texts(), min_size=6, max_size=6))
def test_names_are_escaped(texts):
    labels = RASH.model_copy(update={"outputs": (texts[0] or "x", f"{texts[1]}.", "eczema"), "name": texts[2]})
    files = cards.catalog(labels, collections=(texts[3],), license=texts[4], sex=texts[5])
    found = cards.cohort(files, dict.fromkeys(files["path"], texts[0]), attribution=texts[1], sources=[{"source": texts[2]}])
    statements = Statements(intended_use=texts[3], license=texts[4], contact=texts[5])
    background = Background(cohort=found, statements=statements)
    card = build_card(cards.sources(labels, background=background, evaluation=cards.evaluation(labels)))
    page, checklist = rendering.card_page(card), rendering.checklist_page(card)
    body = page.split("---\n", 2)[2]
    diagram = re.search(r"```mermaid\n(.*?)\n```", body, re.DOTALL).group(1)
    assert tags_of(body.replace(diagram, "").replace("<br>", "")) == []
    assert tags_of(checklist) == []
    assert yaml.safe_load(page.split("---\n", 2)[1])["library_name"] == "keras"
    headings = [line.removeprefix("### ") for line in body.splitlines() if line.startswith("### ")]
    assert headings == [subject.title for subject in SUBJECTS.values()]


def test_hostile_reason_stays_in_its_label_of_the_diagram():
    files = cards.catalog()
    files.loc[0, ["usable", "reason"]] = [False, 'x"]; click a "javascript:alert(1)" ```: y']
    row = build_card(cards.sources(background=cards.full_background(cohort=cards.cohort(files)))).rows["exclusions"]
    line = next(line for line in rendering.flow_diagram(row).splitlines() if "click" in line)
    assert line.count('"') == 2
    assert "`" not in line


def test_card_yaml_of_repository_is_valid_and_every_key_is_there():
    assert set(yaml.safe_load((ROOT / "card.yaml").read_text(encoding="utf-8"))) == set(Statements.model_fields)
    assert Statements.load(ROOT / "card.yaml").users is None


def test_card_yaml_is_checked(tmp_path):
    path = tmp_path / "card.yaml"
    assert Statements.load(path) == Statements()
    for content, message in (("user: x", "user: unknown key"), ("users: [a]", "users: "), ("- a", "card.yaml"), ("a: [", "not valid YAML")):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(LesionflowError, match=message):
            Statements.load(path)


def test_cohort_of_catalog_without_optional_columns_is_counted():
    files = pd.DataFrame({"path": ["a.png"], "diagnosis": ["nevus"], "format": ["PNG"], "usable": [True]})
    found = cards.cohort(files.reindex(columns=BARE.columns))
    assert (found.files, found.usable, found.licenses.unknown, found.short_side) == (1, 1, 1, None)
