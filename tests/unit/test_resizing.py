"""A classifier trains on smaller pictures with the layers that it has."""

import numpy as np
import pytest

from components import model, resizing
from components.settings import Train
from tests.conftest import noise

keras = pytest.importorskip("keras")

HEAD = Train(hidden=(8,), dropout=0.1, learning_rate=0.01, batch_size=8, epochs=1, patience=1, class_weights=True)


def pictures(size):
    return np.stack([np.asarray(noise(number, size)) for number in range(2)]).astype(np.float32)


def classifier(architecture, size, weights=None):
    width = {"alpha": 0.35} if architecture == "MobileNetV2" else {}
    build = getattr(keras.applications, architecture)
    base = model.without_batch_norm(build(include_top=False, weights=None, input_shape=(size, size, 3), name="base", **width))
    pixels = keras.Input((size, size, 3), name="pixels")
    maps = base(model._preprocess(pixels, architecture), training=False)
    extractor = keras.Model(pixels, keras.layers.GlobalAveragePooling2D(name="features")(maps))
    made = model.assemble(extractor, model.build_head(extractor.output_shape[-1], HEAD, 9), "multiclass")
    if weights:
        made.set_weights(weights)
    return made


@pytest.mark.parametrize("architecture", ["MobileNetV2", "ResNet50", "EfficientNetB0"])
def test_it_says_the_same_of_a_full_picture_and_of_a_smaller_one_what_a_classifier_of_that_size_says(architecture, tmp_path):
    model.save(classifier(architecture, 64), tmp_path / "m.keras")
    full = model.read(tmp_path / "m.keras")
    free = resizing.of_any_size(model.logits_of(full))
    assert [id(variable) for variable in free.variables] == [id(variable) for variable in full.variables]
    assert np.array_equal(free(pictures(64)).numpy(), model.logits_of(full)(pictures(64)).numpy())
    small = classifier(architecture, 32, full.get_weights())
    assert np.array_equal(free(pictures(32)).numpy(), model.logits_of(small)(pictures(32)).numpy())


@pytest.mark.parametrize(("share", "epochs", "small"), [(0, 16, 0), (0.5, 16, 8), (0.4, 16, 6), (0.99, 1, 0), (0.99, 16, 15)])
def test_the_last_epoch_is_always_of_full_size(settings, share, epochs, small):
    knobs = settings.finetune.model_copy(update={"small_share": share, "epochs": epochs})
    assert resizing.small_epochs(knobs) == small


@pytest.mark.parametrize(("side", "image_size", "small"), [(0.7143, 224, 160), (0.7143, 96, 64), (0.1, 96, 32), (0.95, 56, 56)])
def test_the_smaller_side_is_a_multiple_of_the_bases_stride(settings, side, image_size, small):
    assert resizing.small_size(settings.finetune.model_copy(update={"small_side": side}), image_size) == small
