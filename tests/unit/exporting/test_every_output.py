import numpy as np
import pytest

from components.exporting import tflite
from components.exporting.agreement import of_every_output, predicted_class
from tests.support import models

SIZE = 32


@pytest.fixture(scope="module")
def one_sigmoid():
    """A classifier of two classes, whose one output is the probability of the second."""
    import keras

    base = models.depthwise_classifier(SIZE)
    return keras.Model(base.input, keras.layers.Dense(1, activation="sigmoid", name="logits")(base.get_layer("features").output))


def batches():
    yield models.random_images(8, SIZE).astype(np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("float16", 0.01), ("int8", 0.1)])
def test_file_of_one_sigmoid_gives_the_probabilities_of_both_classes(one_sigmoid, precision, tolerance):
    infer = tflite.tflite_predictor(tflite.convert_to_tflite(one_sigmoid, precision, batches))
    images = models.random_images(8, SIZE, first=20)
    found = np.stack([infer(image[None]) for image in images])
    assert found.shape == (8, 2)
    assert np.abs(found - of_every_output(one_sigmoid(images).numpy())).max() < tolerance
    assert np.abs(found.sum(axis=1) - 1).max() < 0.01


def test_model_with_an_output_per_class_is_converted_as_it_is():
    classifier = models.classifier()
    assert tflite.with_every_output(classifier) is classifier


def test_one_sigmoid_counts_as_two_outputs():
    assert of_every_output(np.array([[0.2], [0.9]])).tolist() == [[0.8, 0.2], [pytest.approx(0.1), 0.9]]
    assert predicted_class(np.array([[0.2], [0.9]])).tolist() == [0, 1]
    assert of_every_output(np.array([[0.2, 0.3, 0.5]])).tolist() == [[0.2, 0.3, 0.5]]
