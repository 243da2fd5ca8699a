import numpy as np
import pandas as pd

from components.evaluation import plots


def legend_labels(monkeypatch, draw):
    labels = []
    monkeypatch.setattr(
        plots, "save_figure", lambda figure, _: labels.extend(text.get_text() for text in figure.axes[0].get_legend().get_texts())
    )
    draw()
    return labels


def test_roc_plot_omits_class_without_images(tmp_path, monkeypatch):
    truth = np.array([0, 0, 2, 2])
    probabilities = np.array([[0.8, 0.1, 0.1], [0.7, 0.1, 0.2], [0.2, 0.1, 0.7], [0.75, 0.05, 0.2]])
    names = ("nevus", "melanoma", "vascular_lesion")
    labels = legend_labels(monkeypatch, lambda: plots.roc(truth, probabilities, names, tmp_path / "roc.png"))
    assert labels == ["nevus (AUC = 0.75)", "vascular lesion (AUC = 0.88)"]


def test_reliability_plot_has_one_line_per_table(tmp_path, monkeypatch):
    table = pd.DataFrame({"confidence": [0.5, 0.9], "accuracy": [0.4, 1.0], "images": [3, 4]})
    labels = legend_labels(monkeypatch, lambda: plots.reliability({"before": table, "after": table}, tmp_path / "reliability.png"))
    assert labels == ["Perfectly calibrated", "before", "after"]
