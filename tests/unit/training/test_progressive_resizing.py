"""A classifier trains on smaller images with the same layers."""

import numpy as np
import pytest

from components.modeling import serialization
from components.modeling.classifier import logits_model
from components.training import progressive_resizing
from tests.support.images import noise
from tests.support.models import classifier

pytestmark = pytest.mark.slow

keras = pytest.importorskip("keras")


def random_images(size):
    return np.stack([np.asarray(noise(number, size)) for number in range(2)]).astype(np.float32)


LARGER = [pytest.param(name, marks=pytest.mark.architectures) for name in ("ResNet50", "EfficientNetB0")]


@pytest.mark.parametrize("architecture", ["MobileNetV2", *LARGER])
def test_resizable_classifier_matches_fixed_size_classifier(architecture, tmp_path):
    serialization.save_classifier(classifier(architecture, 64), tmp_path / "m.keras")
    fixed = serialization.load_classifier(tmp_path / "m.keras")
    resizable = progressive_resizing.with_dynamic_input_size(logits_model(fixed))
    assert [id(variable) for variable in resizable.variables] == [id(variable) for variable in fixed.variables]
    assert np.array_equal(resizable(random_images(64)).numpy(), logits_model(fixed)(random_images(64)).numpy())
    small = classifier(architecture, 32)
    small.set_weights(fixed.get_weights())
    assert np.array_equal(resizable(random_images(32)).numpy(), logits_model(small)(random_images(32)).numpy())


@pytest.mark.parametrize(("fraction", "epochs", "expected"), [(0, 16, 0), (0.5, 16, 8), (0.4, 16, 6), (0.99, 1, 0), (0.99, 16, 15)])
def test_last_epoch_uses_full_size(settings, fraction, epochs, expected):
    params = settings.finetune.model_copy(update={"low_resolution_epochs_fraction": fraction, "epochs": epochs})
    assert progressive_resizing.low_resolution_epochs(params) == expected


@pytest.mark.parametrize(("fraction", "image_size", "expected"), [(0.7143, 224, 160), (0.7143, 96, 64), (0.1, 96, 32), (0.95, 56, 56)])
def test_low_resolution_size_is_multiple_of_stride(settings, fraction, image_size, expected):
    assert (
        progressive_resizing.low_resolution_size(
            settings.finetune.model_copy(update={"low_resolution_size_fraction": fraction}), image_size
        )
        == expected
    )
