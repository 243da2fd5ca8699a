"""A classifier trains on smaller pictures with the layers that it has."""

import numpy as np
import pytest

from components.modeling import serialization
from components.modeling.classifier import logits_model
from components.training import progressive_resizing
from tests.support.images import noise
from tests.support.models import classifier

pytestmark = pytest.mark.slow

keras = pytest.importorskip("keras")


def pictures(size):
    return np.stack([np.asarray(noise(number, size)) for number in range(2)]).astype(np.float32)


LARGER = [pytest.param(name, marks=pytest.mark.architectures) for name in ("ResNet50", "EfficientNetB0")]


@pytest.mark.parametrize("architecture", ["MobileNetV2", *LARGER])
def test_it_says_the_same_of_a_full_picture_and_of_a_smaller_one_what_a_classifier_of_that_size_says(architecture, tmp_path):
    serialization.save_classifier(classifier(architecture, 64), tmp_path / "m.keras")
    full = serialization.load_classifier(tmp_path / "m.keras")
    free = progressive_resizing.with_dynamic_input_size(logits_model(full))
    assert [id(variable) for variable in free.variables] == [id(variable) for variable in full.variables]
    assert np.array_equal(free(pictures(64)).numpy(), logits_model(full)(pictures(64)).numpy())
    small = classifier(architecture, 32)
    small.set_weights(full.get_weights())
    assert np.array_equal(free(pictures(32)).numpy(), logits_model(small)(pictures(32)).numpy())


@pytest.mark.parametrize(("share", "epochs", "small"), [(0, 16, 0), (0.5, 16, 8), (0.4, 16, 6), (0.99, 1, 0), (0.99, 16, 15)])
def test_the_last_epoch_is_always_of_full_size(settings, share, epochs, small):
    params = settings.finetune.model_copy(update={"low_resolution_epochs_fraction": share, "epochs": epochs})
    assert progressive_resizing.low_resolution_epochs(params) == small


@pytest.mark.parametrize(("side", "image_size", "small"), [(0.7143, 224, 160), (0.7143, 96, 64), (0.1, 96, 32), (0.95, 56, 56)])
def test_the_smaller_side_is_a_multiple_of_the_bases_stride(settings, side, image_size, small):
    assert (
        progressive_resizing.low_resolution_size(settings.finetune.model_copy(update={"low_resolution_size_fraction": side}), image_size)
        == small
    )
