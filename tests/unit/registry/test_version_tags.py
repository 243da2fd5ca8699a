"""Figures in a version's tags, also of versions whose tags have former names."""

from components.core.reports.evaluation import Estimate
from components.registry import model_card, version_tags
from tests.support import documents

FIGURE = Estimate(0.6, 0.5, 0.7)


def test_figures_are_read_back_from_their_tags():
    test = documents.metrics_on_test(critical_sensitivity=FIGURE)
    found = version_tags.metrics_of(version_tags.metric_tags(test))
    assert found["critical_sensitivity"] == FIGURE
    assert found.keys() == version_tags.figure_texts(version_tags.metric_tags(test)).keys()


def test_a_version_of_before_has_its_figure_under_its_former_name():
    tags = {"test.melanoma_sensitivity": "0.6000 [0.5000, 0.7000]", "test.accuracy": "n/a"}
    assert version_tags.metrics_of(tags) == {"critical_sensitivity": FIGURE}
    assert "| melanoma sensitivity | 0.6000 | 0.5000 to 0.7000 |" in model_card.version_description(tags)
