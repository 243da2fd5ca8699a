"""Metrics in the tags of versions, including tags with former names."""

from components.core.reports.evaluation import Estimate
from components.registry import model_card, version_tags
from tests.support import documents

ESTIMATE = Estimate(0.6, 0.5, 0.7)


def test_metrics_of_reads_metric_tags():
    test = documents.metrics_on_test(critical_sensitivity=ESTIMATE)
    metrics = version_tags.metrics_of(version_tags.metric_tags(test))
    assert metrics["critical_sensitivity"] == ESTIMATE
    assert metrics.keys() == version_tags.figure_texts(version_tags.metric_tags(test)).keys()


def test_metrics_of_reads_former_tag_names():
    tags = {"test.melanoma_sensitivity": "0.6000 [0.5000, 0.7000]", "test.accuracy": "n/a"}
    assert version_tags.metrics_of(tags) == {"critical_sensitivity": ESTIMATE}
    assert "| melanoma sensitivity | 0.6000 | 0.5000 to 0.7000 |" in model_card.version_description(tags)
