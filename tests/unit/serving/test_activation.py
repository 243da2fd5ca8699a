from itertools import pairwise

import numpy as np
import pytest

from components.modeling.classifier import build_classifier, build_head, get_extractor, logits_model
from components.serving.activation import Head
from tests.support import models

RANDOM = np.random.default_rng(3)
MAPS = RANDOM.normal(size=(7, 7, 12))


def head(*units: int) -> Head:
    """A head on 12 features with random weights; the last number is that of its logits."""
    widths = (12, *units)
    pairs = list(pairwise(widths))
    return Head(tuple(RANDOM.normal(size=pair) for pair in pairs), tuple(RANDOM.normal(size=pair[1]) for pair in pairs))


def logits(of: Head, features: np.ndarray) -> np.ndarray:
    for number, (kernel, bias) in enumerate(zip(of.kernels, of.biases, strict=True)):
        features = (np.maximum(features, 0) if number else features) @ kernel + bias
    return features


def test_map_of_a_linear_head_and_the_bias_are_the_logit():
    linear = head(9)
    expected = logits(linear, MAPS.mean(axis=(0, 1)))
    for output in range(9):
        found = linear.map_of(MAPS, output)
        assert found.values.shape == (7, 7)
        assert found.offset == pytest.approx(linear.biases[0][output])
        assert found.values.mean() + linear.biases[0][output] == pytest.approx(expected[output])


def test_map_with_hidden_layers_is_the_gradient_times_the_maps():
    hidden, features, step = head(8, 6, 9), MAPS.mean(axis=(0, 1)), 1e-6
    for output in range(9):
        gradient = [(logits(hidden, features + move) - logits(hidden, features - move))[output] / (2 * step) for move in step * np.eye(12)]
        found = hidden.map_of(MAPS, output)
        assert np.allclose(found.values, MAPS @ np.array(gradient), atol=1e-5)
        assert found.logit == pytest.approx(logits(hidden, features)[output])


def test_maps_of_one_logit_are_opposite():
    sigmoid = head(4, 1)
    first, second = (sigmoid.map_of(MAPS, output) for output in (0, 1))
    assert second.logit == pytest.approx(logits(sigmoid, MAPS.mean(axis=(0, 1)))[0])
    assert np.array_equal(first.values, -second.values)
    assert first.offset == -second.offset


def test_head_is_read_as_it_was_written():
    written = head(8, 9)
    read = Head.of_bytes(written.to_bytes())
    assert all(np.array_equal(*pair) for pair in zip(written.kernels + written.biases, read.kernels + read.biases, strict=True))
    assert read.to_bytes() == written.to_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("hidden_units", [(), (8, 6)])
def test_map_and_offset_are_the_logit_of_keras(hidden_units):
    import keras

    extractor = get_extractor(models.classifier("small", 32))
    classifier = build_classifier(
        extractor, build_head(extractor.output_shape[-1], models.HEAD.model_copy(update={"hidden_units": hidden_units}), 9), 1.3
    )
    images = models.random_images(3)[:, :32, :32]
    maps = keras.Model(classifier.input, classifier.get_layer("features").input)(images).numpy()
    weights = [layer.get_weights() for layer in classifier.get_layer("head").layers if layer.get_weights()]
    read = Head(tuple(kernel for kernel, _ in weights), tuple(bias for _, bias in weights))
    found = [[read.map_of(image, output).logit for output in range(9)] for image in maps]
    assert np.abs(np.array(found) - logits_model(classifier)(images).numpy()).max() < 1e-4
