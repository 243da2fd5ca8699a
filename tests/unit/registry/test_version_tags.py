"""Metrics in the tags of versions, including tags with former names."""

import pytest

from components import register
from components.core.reports.evaluation import Estimate
from components.registry import model_card, version_tags
from tests.support import documents
from tests.support.labels import BENIGN_MALIGNANT, ISIC9, RASH

ESTIMATE = Estimate(0.6, 0.5, 0.7)


def test_metrics_of_reads_metric_tags():
    test = documents.metrics_on_test(critical_sensitivity=ESTIMATE)
    metrics = version_tags.metrics_of(version_tags.metric_tags(test))
    assert metrics["critical_sensitivity"] == ESTIMATE
    assert metrics.keys() == version_tags.figure_texts(version_tags.metric_tags(test)).keys()


def test_metrics_of_reads_former_tag_names():
    tags = {"test.melanoma_sensitivity": "0.6000 [0.5000, 0.7000]", "test.accuracy": "n/a", "task": "multiclass"}
    assert version_tags.metrics_of(tags) == {"critical_sensitivity": ESTIMATE}
    assert "| melanoma sensitivity | 0.6000 | 0.5000 to 0.7000 |" in model_card.version_description(tags)


def test_rules_of_reads_former_rule_names():
    tags = {"gate.enough_melanoma_test_lesions": "passed: 13 melanoma test lesions", "gate.export_agrees": "failed: no"}
    assert [(rule.name, rule.passed) for rule in version_tags.rules_of(tags)] == [
        ("enough melanoma test groups", True),
        ("export agrees", False),
    ]


@pytest.mark.parametrize("labels", [ISIC9, BENIGN_MALIGNANT, RASH], ids=lambda labels: labels.name)
def test_label_set_round_trip_through_tags(labels):
    tags = version_tags.label_set_tags(labels)
    assert version_tags.label_set_of(tags) == labels
    assert tags["label_set.sha256"] == labels.identity


def test_version_tagged_with_task_has_its_label_set():
    assert version_tags.label_set_of({"task": "multiclass"}) == ISIC9
    assert version_tags.label_set_of({"task": "binary"}) == BENIGN_MALIGNANT
    assert version_tags.label_set_of({}) is None


def test_description_tells_what_a_label_set_does_not_tell():
    description = model_card.version_description(version_tags.label_set_tags(RASH))
    assert "Classes: acne, eczema, psoriasis, rosacea." in description
    assert "Malignant: none" in description
    assert "Critical class: none" in description


SUBGROUPS = {
    "age": {"0-29": documents.subgroup(), "70+": documents.subgroup(0.6)},
    "site": {"head/neck": documents.subgroup(0.5), "trunk": documents.subgroup(0.7)},
}


def test_worst_subgroup_is_in_tag_and_description():
    tags = version_tags.subgroup_tags(SUBGROUPS)
    assert tags == {"worst_subgroup": "site head/neck: 0.5000 [0.4000, 0.6000]"}
    assert r"Worst subgroup by balanced accuracy: site head/neck: 0.5000 \[0.4000, 0.6000\]" in model_card.version_description(tags)
    assert version_tags.subgroup_tags({"age": {"0-29": documents.subgroup()}}) == {}
    assert "Worst subgroup" not in model_card.version_description({})


def test_subgroups_with_figures_are_metrics_with_names_that_mlflow_allows():
    metrics = register.subgroup_metrics(documents.evaluation(subgroups=SUBGROUPS))
    assert metrics == {"subgroup/age 70 and over": 0.6, "subgroup/site head_neck": 0.5, "subgroup/site trunk": 0.7}
