import numpy as np
import pytest

from components.exporting import tflite
from components.modeling.classifier import build_classifier, build_head, get_extractor
from tests.support import models

pytestmark = pytest.mark.slow

SIZE = 32
IMAGES = models.random_images(4, SIZE, first=300)


@pytest.mark.parametrize("logits", [1, 9])
def test_server_file_has_the_probabilities_of_keras_beside_its_other_outputs(logits):
    extractor = get_extractor(models.classifier("small", SIZE))
    classifier = build_classifier(extractor, build_head(extractor.output_shape[-1], models.HEAD, logits), 1.3)
    predict = tflite.tflite_predictor(tflite.convert_to_tflite(classifier, "server", tuple))
    found = np.stack([predict(pixels[None]) for pixels in IMAGES])
    assert found.shape == (4, logits)
    assert np.abs(found - classifier(IMAGES).numpy()).max() < 1e-5
