"""The network that is measured is the network that is saved and served, for every architecture, with weights that are not trivial."""

from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc import PythonModelContext

from components import export
from components.core import architectures
from components.core.files import write_json
from components.imaging.tfrecords import as_png
from components.modeling import serialization
from components.modeling.backbone import (
    FIRST_LAYER,
    IMAGENET_DEVIATION_RGB,
    IMAGENET_FACTOR,
    _has_imagenet_factor,
    _with_weights,
    build_extractor,
    fold_batch_norm,
    get_base,
    preprocess,
    unfreeze,
)
from components.modeling.classifier import add_logit_bias, build_classifier, logits_model, probabilities, with_temperature
from components.runtime.params import Backbone
from components.serving.pyfunc_model import LesionClassifier
from components.training import feature_cache, progressive_resizing
from tests.support.models import NETWORKS, fitted_head, keras_input, labeled_images, seeded_base

pytestmark = pytest.mark.slow

keras = pytest.importorskip("keras")
legacy_h5_format = pytest.importorskip("keras.src.legacy.saving.legacy_h5_format")

SIZE = 64
FOLDED = 1e-4
"""Folding changes the order of float32 operations over up to 50 layers; everything after it is the same arithmetic."""
PIXELS, _ = labeled_images(9, SIZE, first=500)


@pytest.fixture(scope="module", params=NETWORKS)
def network(request, tmp_path_factory):
    """What a base of Keras' gives for PIXELS, and a classifier that our code built on its weights file."""
    architecture, alpha = request.param
    folder = tmp_path_factory.mktemp("network")
    base = seeded_base(architecture, alpha, SIZE)
    base.save_weights(folder / "base.weights.h5")
    pooled = base(keras_input(architecture, PIXELS), training=False).numpy().mean(axis=(1, 2))
    extractor = build_extractor(Backbone(architecture=architecture, alpha=alpha, image_size=SIZE, weights=str(folder / "base.weights.h5")))
    features = extractor(PIXELS).numpy()
    seen, kinds = labeled_images(72, SIZE)
    head = fitted_head(np.concatenate([extractor(part).numpy() for part in np.split(seen, 3)]), kinds)
    whole = build_classifier(extractor, head, "multiclass", 1.3)
    serialization.save_classifier(whole, folder / "candidate/model.keras")
    logits = head(features).numpy()
    return SimpleNamespace(folder=folder, pooled=pooled, features=features, logits=logits, whole=whole)


def close(found, expected, tolerance=1e-5):
    assert np.abs(np.asarray(found) - expected).max() <= tolerance * max(1.0, np.abs(expected).max())


def test_the_extractor_gives_the_features_of_keras_own_base(network):
    assert network.pooled.std(axis=0).max() > 0.1
    close(network.features, network.pooled, FOLDED)


def test_classifier_saved_classifier_and_served_model_say_what_extractor_and_head_say_of_the_same_bytes(network):
    expected = probabilities(network.logits, "multiclass", 1.3)
    assert len(set(expected.argmax(axis=1))) > 3
    close(network.whole(PIXELS).numpy(), expected)
    close(serialization.load_classifier(network.folder / "candidate/model.keras")(PIXELS).numpy(), expected)
    write_json(network.folder / "candidate/candidate.json", {"image_size": SIZE, "outputs": [str(number) for number in range(9)]})
    served, context = LesionClassifier(), PythonModelContext({"candidate": str(network.folder / "candidate")}, None)
    served.load_context(context)
    found = served.predict(context, pd.DataFrame({"image": [as_png(pixels.astype(np.uint8)) for pixels in PIXELS]}))
    close(found.iloc[:, 1:].to_numpy(dtype=float), expected)


def test_every_rebuilt_form_of_a_saved_classifier_keeps_its_numbers(network):
    read = serialization.load_classifier(network.folder / "candidate/model.keras")
    close(progressive_resizing.with_dynamic_input_size(logits_model(read))(PIXELS).numpy(), network.logits)
    close(with_temperature(read, "multiclass", 0.7)(PIXELS).numpy(), probabilities(network.logits, "multiclass", 0.7))
    base = get_base(read)
    unfreeze(base, len(base.layers) - 20)
    at = feature_cache.cut_layer_index(base)
    close(feature_cache.trainable_part(read, at)(feature_cache.frozen_part(read, at)(PIXELS)).numpy(), network.logits)
    lift = np.zeros(9, dtype=np.float32)
    lift[3] = 1.5
    add_logit_bias(read, lift)
    close(logits_model(read)(PIXELS).numpy(), network.logits + lift)


@pytest.mark.architectures
def test_the_float16_export_is_the_classifier(network):
    classifier = serialization.load_classifier(network.folder / "candidate/model.keras")
    many, kinds = labeled_images(200, SIZE, first=1000)
    expected = np.concatenate([classifier(many[start : start + 50]).numpy() for start in range(0, len(many), 50)])
    assert (expected.argmax(axis=1) == kinds).mean() > 0.5
    assert np.median(expected.max(axis=1)) < 0.99  # not so sure that nothing could change it
    infer = export.tflite_predictor(export.convert_to_tflite(classifier, "float16", lambda: iter(())))
    found = np.stack([infer(pixels[None]) for pixels in many])
    assert np.abs(found - expected).max() <= 0.05
    assert (export.predicted_class(found) == export.predicted_class(expected)).mean() >= 0.985


def test_folding_keeps_the_statistics_of_a_normalization():
    pixels = keras.Input((8, 8, 3))
    normal = keras.layers.Normalization()
    tensor = keras.layers.BatchNormalization(name="norm")(keras.layers.Conv2D(4, 3, name="conv")(normal(pixels)))
    base = keras.Model(pixels, tensor)
    normal.set_weights([np.array([0.5, 0.4, 0.3]), np.array([0.2, 0.3, 0.4]), np.array(1)])
    normal.finalize_state()
    close(fold_batch_norm(base)(PIXELS[:, :8, :8]).numpy(), base(PIXELS[:, :8, :8], training=False).numpy())


@pytest.mark.parametrize("architecture", ["MobileNetV2", "ResNet50"])
def test_preprocessing_is_keras_own(architecture):
    close(preprocess(PIXELS, architecture, None, (1.0,) * 3), keras_input(architecture, PIXELS))


def before_the_stem(base):
    """What Keras' own EfficientNetB0 makes of PIXELS before its first convolution."""
    found = PIXELS
    for layer in base.layers[1 : [layer.name for layer in base.layers].index("stem_conv_pad")]:
        found = layer(found)
    return found.numpy()


@pytest.fixture(scope="module")
def efficientnets(tmp_path_factory):
    """EfficientNetB0 as Keras builds it for a file, and for "imagenet", where it has a layer more."""
    plain = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(32, 32, 3))
    path = tmp_path_factory.mktemp("plain") / "plain.weights.h5"
    plain.save_weights(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.src.applications.efficientnet.file_utils, "get_file", lambda *_, **__: str(path))
        layered = keras.applications.EfficientNetB0(include_top=False, weights="imagenet", input_shape=(32, 32, 3))
    assert len(layered.layers) == len(plain.layers) + 1
    return plain, layered


@pytest.mark.parametrize("architecture", architectures.LAYERS)
def test_the_layers_that_settings_know_are_those_of_keras(efficientnets, architecture):
    build = getattr(keras.applications, architecture)
    known = list(architectures.LAYERS[architecture][1:])
    base = efficientnets[0] if architecture == "EfficientNetB0" else build(include_top=False, weights=None, input_shape=(32, 32, 3))
    assert [layer.name for layer in base.layers][-len(known) :] == known
    first = FIRST_LAYER.get(architecture)
    assert known[0] == (first or base.layers[1].name)
    start = architectures.unfreeze_from(architecture, "auto")
    tensor = base.layers[len(base.layers) - len(known) + architectures.layer_number(["pixels", *known], start) - 1]
    while "add" not in tensor.name and "project_bn" not in tensor.name.lower():
        tensor = base.layers[base.layers.index(tensor) + 1]
    assert tensor.output.shape[1] == 32 // 8


@pytest.mark.parametrize("form", ["Keras 3", "older"])
@pytest.mark.parametrize(
    ("saved_from", "variance", "meant"),
    [
        ("plain", (0.11, 0.2, 0.3), "plain"),
        ("layered", (0.11, 0.2, 0.3), "layered"),
        ("plain", IMAGENET_DEVIATION_RGB, "layered"),
    ],
    ids=["of a network without the layer", "of a network with it", "ImageNet's, older than the layer"],
)
def test_a_weights_file_is_read_as_the_network_it_was_trained_in(efficientnets, tmp_path, form, saved_from, variance, meant):
    networks = dict(zip(("plain", "layered"), efficientnets, strict=True))
    for network in efficientnets:
        network.layers[2].set_weights([np.array([0.485, 0.456, 0.406]), np.array(variance), np.array(1)])
        network.layers[2].finalize_state()
    path = tmp_path / ("w.weights.h5" if form == "Keras 3" else "w.h5")
    if form == "Keras 3":
        networks[saved_from].save_weights(path)
    else:
        with h5py.File(path, "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, networks[saved_from])
    assert _has_imagenet_factor(efficientnets[0], path) is (meant == "layered")
    factor = IMAGENET_FACTOR if meant == "layered" else (1.0,) * 3
    close(preprocess(PIXELS, "EfficientNetB0", efficientnets[0], factor).numpy(), before_the_stem(networks[meant]))


def test_the_network_is_the_same_whether_keras_or_the_user_brings_imagenets_weights(efficientnets, tmp_path, monkeypatch):
    plain, _ = efficientnets
    plain.layers[2].set_weights([np.array([0.485, 0.456, 0.406]), np.array(IMAGENET_DEVIATION_RGB), np.array(1)])
    path = tmp_path / "imagenet.weights.h5"
    plain.save_weights(path)
    monkeypatch.setattr(keras.src.applications.efficientnet.file_utils, "get_file", lambda *_, **__: str(path))
    backbone = Backbone(architecture="EfficientNetB0", image_size=32, weights="imagenet")
    brought, named = (_with_weights(backbone.model_copy(update={"weights": weights})) for weights in ("imagenet", str(path)))
    found = [preprocess(PIXELS, architecture, base, factor).numpy() for base, architecture, factor in (brought, named)]
    assert np.array_equal(*found)
    stems = [keras.Model(base.get_layer("stem_conv_pad").input, base.output).get_weights() for base, *_ in (brought, named)]
    assert all(np.array_equal(*pair) for pair in zip(*stems, strict=True))
