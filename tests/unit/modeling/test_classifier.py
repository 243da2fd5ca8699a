"""Tests of the classifier on a real base. Loading TensorFlow and building the base takes about half a minute."""

import numpy as np
import pytest

from components.core.errors import LesionflowError
from components.modeling import serialization
from components.modeling.backbone import build_base, build_extractor, fold_batch_norm, get_base, unfreeze
from components.modeling.classifier import (
    build_classifier,
    build_head,
    inference_function,
    logits_model,
    probabilities,
    with_temperature,
)
from components.modeling.determinism import seed_generators
from components.runtime.params import Backbone, Train

pytestmark = pytest.mark.slow

keras = pytest.importorskip("keras")

HEAD = Train(hidden_units=(8,), dropout=0.1, learning_rate=0.01, batch_size=8, epochs=1, patience=1, class_weight_power=1.0)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> Backbone:
    """A tiny MobileNetV2 with random weights, saved to a file."""
    path = tmp_path_factory.mktemp("weights") / "random.weights.h5"
    seed_generators(1)
    base = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(32, 32, 3), alpha=0.35)
    base.save_weights(path)
    return Backbone(architecture="MobileNetV2", alpha=0.35, image_size=32, weights=str(path))


@pytest.fixture(scope="module")
def base(backbone):
    """A base with these weights, for tests that change only which layers are trainable."""
    return build_base(backbone)


def classifier(backbone: Backbone, logits: int = 9):
    extractor = build_extractor(backbone)
    return build_classifier(extractor, build_head(extractor.output_shape[-1], HEAD, logits))


PIXELS = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.float32)


@pytest.mark.parametrize("logits", [9, 1])
def test_classifier_has_softmax_or_one_sigmoid(backbone, logits):
    probabilities_of_pixels = classifier(backbone, logits)(PIXELS).numpy()
    assert probabilities_of_pixels.shape == (4, logits)
    assert (probabilities_of_pixels > 0).all()
    if logits > 1:
        assert np.allclose(probabilities_of_pixels.sum(axis=1), 1, atol=1e-5)


def test_fold_batch_norm_keeps_outputs_and_removes_moving_statistics():
    seed_generators(1)
    base = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(32, 32, 3), alpha=0.35)
    random = np.random.default_rng(2)
    for layer in base.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            gamma, variance = random.uniform(0.5, 1.5, shape), random.uniform(0.5, 2, shape)
            layer.set_weights([gamma, *random.normal(0, 0.3, (2, *shape)), variance])
    folded = fold_batch_norm(base)
    pixels = PIXELS / 127.5 - 1
    expected = base(pixels, training=False).numpy()
    assert expected.std() > 0.01
    assert np.allclose(folded(pixels, training=True).numpy(), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    assert not any("moving" in variable.path for variable in folded.variables)
    assert [layer.name for layer in folded.layers[1:]] == [layer.name for layer in base.layers[1:]]


def test_fold_batch_norm_error_names_unsupported_layer():
    pixels = keras.Input((8, 8, 3))
    tensor = keras.layers.Conv2D(4, 3, activation="relu", name="curved")(pixels)
    with pytest.raises(ValueError, match="norm cannot be folded into curved"):
        fold_batch_norm(keras.Model(pixels, keras.layers.BatchNormalization(name="norm")(tensor)))


def test_fine_tuning_updates_only_unfrozen_layers(backbone):
    model = classifier(backbone)
    base = get_base(model)
    unfrozen = unfreeze(base, "block_13")
    trainable_before = {v.path: v.numpy().copy() for v in base.trainable_variables}
    frozen_before = {v.path: v.numpy().copy() for v in base.non_trainable_variables}
    network = logits_model(model)
    network.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    network.fit(PIXELS, np.array([0, 1, 2, 3]), epochs=2, verbose=0)
    assert trainable_before and frozen_before
    assert all(np.array_equal(v.numpy(), frozen_before[v.path]) for v in base.non_trainable_variables)
    assert all(not np.array_equal(v.numpy(), trainable_before[v.path]) for v in base.trainable_variables)
    assert unfrozen[0] == "block_13_expand"


@pytest.mark.parametrize(("start", "first"), [("block_6", "block_6_expand"), ("Conv_1", "Conv_1"), (0, "Conv1")])
def test_unfreeze_accepts_block_layer_or_number(base, start, first):
    assert unfreeze(base, start)[0] == first


@pytest.mark.parametrize(
    ("start", "message"),
    [("block_99", "no layer or block 'block_99'. Its blocks are .*block_16"), (9999, "greater than the number of the base's last layer")],
)
def test_unfreeze_error_lists_known_blocks(base, start, message):
    with pytest.raises(LesionflowError, match=message):
        unfreeze(base, start)


def test_equal_classifiers_are_saved_as_equal_bytes(backbone, tmp_path):
    seed_generators(5)
    keras.backend.clear_session()
    first = classifier(backbone)
    seed_generators(5)
    keras.backend.clear_session()
    second = classifier(backbone)
    serialization.save_classifier(first, tmp_path / "a.keras")
    serialization.save_classifier(second, tmp_path / "b.keras")
    assert serialization.classifier_sha256(tmp_path / "a.keras") == serialization.classifier_sha256(tmp_path / "b.keras")
    assert np.array_equal(serialization.load_classifier(tmp_path / "a.keras")(PIXELS).numpy(), second(PIXELS).numpy())


@pytest.mark.parametrize("logit_count", [9, 1])
def test_with_temperature_matches_probabilities(backbone, logit_count):
    model = classifier(backbone, logit_count)
    logits = inference_function(logits_model(model))(PIXELS)
    scaled = with_temperature(model, 2.5)(PIXELS).numpy()
    expected = probabilities(logits, 2.5)
    assert np.allclose(scaled if logit_count > 1 else scaled[:, 0], expected if logit_count > 1 else expected[:, 1], atol=1e-5)


def test_build_base_explains_missing_or_incompatible_weights(backbone, tmp_path):
    with pytest.raises(LesionflowError, match=r"weights file .*none.h5 does not exist"):
        build_base(backbone.model_copy(update={"weights": str(tmp_path / "none.h5")}))
    with pytest.raises(LesionflowError, match=r"is not a weights file of MobileNetV2 \(alpha 0.5\)"):
        build_base(backbone.model_copy(update={"alpha": 0.5}))
    (tmp_path / "text.weights.h5").write_text("no weights")
    with pytest.raises(LesionflowError, match="is not a weights file of MobileNetV2"):
        build_base(backbone.model_copy(update={"weights": str(tmp_path / "text.weights.h5")}))
