"""Predicts the images of a split: from one view or from every view, under shifts, and after small changes."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from components.core import catalog, decision
from components.core.label_set import LabelSet
from components.evaluation import repeatability, robustness, view_counts
from components.evaluation.measurement import TestScores
from components.evaluation.predictions import Predictions
from components.evaluation.repeatability import Looks
from components.evaluation.robustness import Classify
from components.evaluation.view_counts import MOST_VIEWS, Logits, ViewFit
from components.imaging import tfrecords
from components.imaging.images import Pixels
from components.imaging.model_input import ModelInput
from components.modeling.classifier import inference_function, logits_model, probabilities

if TYPE_CHECKING:
    import keras

IMAGE_COLUMNS = ["path", "pixels_sha256", "diagnosis", "group"]


def predict_logits(classifier: "keras.Model", split: str, views: int = 1) -> tuple[pd.DataFrame, Logits]:
    """Images of a split in the shards' order, and the classifier's logits for each at this number of views, (views, n, logits)."""
    predict, paths, logits = inference_function(logits_model(classifier)), [], []
    described = split if views == 1 else f"{split}, {views} views"
    with tqdm(total=tfrecords.view_count(split), desc=described, unit="image", mininterval=1) as bar:
        for batch in tfrecords.iter_batches(split):
            logits.append(repeatability.logits_of_views(predict, batch["pixels"], views))
            paths += tfrecords.paths_of(batch)
            bar.update(len(batch["path"]))
    return rows_for_paths(paths, split)[IMAGE_COLUMNS], np.concatenate(logits, axis=1)


def predict_split(classifier: "keras.Model", split: str, labels: LabelSet) -> Predictions:
    """Uncalibrated probabilities of a split from one view."""
    images, logits = predict_logits(classifier, split)
    return Predictions(images, probabilities(logits[0]), labels)


def calibrated_classifier(classifier: "keras.Model", fit: ViewFit) -> Classify:
    """The classifier with one view, and with the temperature and the offsets of the named diagnosis of `fit`."""
    predict = inference_function(logits_model(classifier))

    def classify(pixels: Pixels) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
        found = probabilities(predict(pixels), fit.temperature)
        return found, decision.named_outputs(found, fit.offsets)

    return classify


def rows_for_paths(paths: list[str], split: str) -> pd.DataFrame:
    """The rows of these images of a split, in their order."""
    return catalog.load_split(split).set_index("path").loc[paths].reset_index()


def score_on_test(
    classifiers: "dict[str, keras.Model]", phase: str, fit: ViewFit, labels: LabelSet, model_input: ModelInput
) -> tuple[TestScores, Looks]:
    """Score every phase on test, and the picked one calibrated, at every view and after changes of its images.

    The lift decides which diagnosis is named, and no probability. Under shifts one view is compared with one view: eight would take
    eight times as long.
    """
    phases = {name: predict_split(classifier, "test", labels) for name, classifier in classifiers.items()}
    scored, classifier = phases[phase], classifiers[phase]
    _, logits = predict_logits(classifier, "test", MOST_VIEWS)
    after = fit.predictions(scored, logits)
    before = replace(after, probabilities=view_counts.mean_probabilities(logits, 1.0, fit.count))
    one_view = replace(fit, count=1).predictions(scored, logits)
    shifted = robustness.predict_under_shifts(calibrated_classifier(classifier, fit), one_view, model_input)
    predict = inference_function(logits_model(classifier))
    changed = repeatability.predict_changed(predict, scored.images["path"].tolist(), model_input)
    return TestScores(phases, before, after, one_view, shifted), Looks(logits, changed)
