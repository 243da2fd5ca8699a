"""For every architecture, the evaluated, saved and served classifiers give the same outputs, with nontrivial weights."""

from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc import PythonModelContext

from components.core import architectures
from components.core.files import write_json
from components.exporting.agreement import predicted_class
from components.exporting.tflite import convert_to_tflite, tflite_predictor
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
from components.modeling.classifier import build_classifier, logits_model, probabilities, with_temperature
from components.runtime.params import Backbone
from components.serving.contents import FILE, write_digests
from components.serving.pyfunc_model import LesionClassifier
from components.training import feature_cache, progressive_resizing
from tests.support.models import NETWORKS, fitted_head, keras_input, labeled_images, seeded_base

pytestmark = pytest.mark.slow

keras = pytest.importorskip("keras")
legacy_h5_format = pytest.importorskip("keras.src.legacy.saving.legacy_h5_format")

SIZE = 64
FOLDING_TOLERANCE = 1e-4
"""Relative tolerance: folding reorders float32 operations in up to 50 layers; later operations are identical."""
PIXELS, _ = labeled_images(9, SIZE, first=500)


@pytest.fixture(scope="module", params=NETWORKS)
def network(request, tmp_path_factory):
    """Pooled features of a Keras base for PIXELS, and a classifier built from the weights file of that base."""
    architecture, alpha = request.param
    folder = tmp_path_factory.mktemp("network")
    base = seeded_base(architecture, alpha, SIZE)
    base.save_weights(folder / "base.weights.h5")
    pooled = base(keras_input(architecture, PIXELS), training=False).numpy().mean(axis=(1, 2))
    extractor = build_extractor(Backbone(architecture=architecture, alpha=alpha, image_size=SIZE, weights=str(folder / "base.weights.h5")))
    features = extractor(PIXELS).numpy()
    head_pixels, kinds = labeled_images(72, SIZE)
    head = fitted_head(np.concatenate([extractor(batch).numpy() for batch in np.split(head_pixels, 3)]), kinds)
    model = build_classifier(extractor, head, 1.3)
    serialization.save_classifier(model, folder / "candidate/model.keras")
    logits = head(features).numpy()
    return SimpleNamespace(folder=folder, pooled=pooled, features=features, logits=logits, classifier=model)


def assert_close(actual, expected, tolerance=1e-5):
    assert np.abs(np.asarray(actual) - expected).max() <= tolerance * max(1.0, np.abs(expected).max())


def test_extractor_features_match_keras_base(network):
    assert network.pooled.std(axis=0).max() > 0.1
    assert_close(network.features, network.pooled, FOLDING_TOLERANCE)


def test_saved_and_served_classifier_match_extractor_and_head(network):
    expected = probabilities(network.logits, 1.3)
    assert len(set(expected.argmax(axis=1))) > 3
    assert_close(network.classifier(PIXELS).numpy(), expected)
    assert_close(serialization.load_classifier(network.folder / "candidate/model.keras")(PIXELS).numpy(), expected)
    (network.folder / "export").mkdir(exist_ok=True)
    exported = convert_to_tflite(network.classifier, "float32", lambda: ())
    (network.folder / "export/model_float32.tflite").write_bytes(exported)
    write_json(network.folder / "candidate/candidate.json", {"image_size": SIZE, "outputs": [str(number) for number in range(9)]})
    write_digests(network.folder / FILE, {name: network.folder / name for name in ("candidate", "export")})
    served, context = LesionClassifier(), PythonModelContext({"candidate": str(network.folder / "candidate")}, None)
    served.load_context(context)
    predictions = served.predict(context, pd.DataFrame({"image": [as_png(pixels.astype(np.uint8)) for pixels in PIXELS]}))
    assert_close(predictions.iloc[:, 1:10].to_numpy(dtype=float), expected, FOLDING_TOLERANCE)


def test_rebuilt_classifier_keeps_outputs(network):
    loaded = serialization.load_classifier(network.folder / "candidate/model.keras")
    assert_close(progressive_resizing.with_dynamic_input_size(logits_model(loaded))(PIXELS).numpy(), network.logits)
    assert_close(with_temperature(loaded, 0.7)(PIXELS).numpy(), probabilities(network.logits, 0.7))
    base = get_base(loaded)
    unfreeze(base, len(base.layers) - 20)
    cut = feature_cache.cut_layer_index(base)
    assert_close(feature_cache.trainable_part(loaded, cut)(feature_cache.frozen_part(loaded, cut)(PIXELS)).numpy(), network.logits)


@pytest.mark.architectures
def test_float16_export_matches_classifier(network):
    classifier = serialization.load_classifier(network.folder / "candidate/model.keras")
    images, kinds = labeled_images(200, SIZE, first=1000)
    expected = np.concatenate([classifier(images[start : start + 50]).numpy() for start in range(0, len(images), 50)])
    assert (expected.argmax(axis=1) == kinds).mean() > 0.5
    assert np.median(expected.max(axis=1)) < 0.99  # not so confident that no change would be visible
    predict = tflite_predictor(convert_to_tflite(classifier, "float16", lambda: ()))
    exported = np.stack([predict(pixels[None]) for pixels in images])
    assert np.abs(exported - expected).max() <= 0.05
    assert (predicted_class(exported) == predicted_class(expected)).mean() >= 0.985


def test_fold_batch_norm_keeps_normalization_statistics():
    pixels = keras.Input((8, 8, 3))
    normal = keras.layers.Normalization()
    tensor = keras.layers.BatchNormalization(name="norm")(keras.layers.Conv2D(4, 3, name="conv")(normal(pixels)))
    base = keras.Model(pixels, tensor)
    normal.set_weights([np.array([0.5, 0.4, 0.3]), np.array([0.2, 0.3, 0.4]), np.array(1)])
    normal.finalize_state()
    assert_close(fold_batch_norm(base)(PIXELS[:, :8, :8]).numpy(), base(PIXELS[:, :8, :8], training=False).numpy())


@pytest.mark.parametrize("architecture", ["MobileNetV2", "ResNet50"])
def test_preprocess_matches_keras(architecture):
    assert_close(preprocess(PIXELS, architecture, None, (1.0,) * 3), keras_input(architecture, PIXELS))


def preprocessed_by_keras(base):
    """PIXELS as they reach the first convolution of EfficientNetB0 in Keras."""
    tensor = PIXELS
    for layer in base.layers[1 : [layer.name for layer in base.layers].index("stem_conv_pad")]:
        tensor = layer(tensor)
    return tensor.numpy()


@pytest.fixture(scope="module")
def efficientnets(tmp_path_factory):
    """EfficientNetB0 as Keras builds it for a weights file, and for "imagenet", where it has an additional rescaling layer."""
    without_factor = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(32, 32, 3))
    path = tmp_path_factory.mktemp("plain") / "plain.weights.h5"
    without_factor.save_weights(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.src.applications.efficientnet.file_utils, "get_file", lambda *_, **__: str(path))
        with_factor = keras.applications.EfficientNetB0(include_top=False, weights="imagenet", input_shape=(32, 32, 3))
    assert len(with_factor.layers) == len(without_factor.layers) + 1
    return without_factor, with_factor


@pytest.mark.parametrize("architecture", architectures.LAYERS)
def test_known_layers_match_keras(efficientnets, architecture):
    build = getattr(keras.applications, architecture)
    known_layers = list(architectures.LAYERS[architecture][1:])
    base = efficientnets[0] if architecture == "EfficientNetB0" else build(include_top=False, weights=None, input_shape=(32, 32, 3))
    assert [layer.name for layer in base.layers][-len(known_layers) :] == known_layers
    first_layer = FIRST_LAYER.get(architecture)
    assert known_layers[0] == (first_layer or base.layers[1].name)
    start = architectures.unfreeze_from(architecture, "auto")
    tensor = base.layers[len(base.layers) - len(known_layers) + architectures.layer_number(["pixels", *known_layers], start) - 1]
    while "add" not in tensor.name and "project_bn" not in tensor.name.lower():
        tensor = base.layers[base.layers.index(tensor) + 1]
    assert tensor.output.shape[1] == 32 // 8


@pytest.mark.parametrize("file_format", ["Keras 3", "legacy HDF5"])
@pytest.mark.parametrize(
    ("saved_from", "variance", "expected"),
    [
        ("without_factor", (0.11, 0.2, 0.3), "without_factor"),
        ("with_factor", (0.11, 0.2, 0.3), "with_factor"),
        ("without_factor", IMAGENET_DEVIATION_RGB, "with_factor"),
    ],
    ids=["network without rescaling", "network with rescaling", "ImageNet weights without rescaling"],
)
def test_weights_file_is_read_as_its_original_network(efficientnets, tmp_path, file_format, saved_from, variance, expected):
    networks = dict(zip(("without_factor", "with_factor"), efficientnets, strict=True))
    for network in efficientnets:
        network.layers[2].set_weights([np.array([0.485, 0.456, 0.406]), np.array(variance), np.array(1)])
        network.layers[2].finalize_state()
    path = tmp_path / ("w.weights.h5" if file_format == "Keras 3" else "w.h5")
    if file_format == "Keras 3":
        networks[saved_from].save_weights(path)
    else:
        with h5py.File(path, "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, networks[saved_from])
    assert _has_imagenet_factor(efficientnets[0], path) is (expected == "with_factor")
    factor = IMAGENET_FACTOR if expected == "with_factor" else (1.0,) * 3
    assert_close(preprocess(PIXELS, "EfficientNetB0", efficientnets[0], factor).numpy(), preprocessed_by_keras(networks[expected]))


def test_imagenet_weights_match_same_weights_from_file(efficientnets, tmp_path, monkeypatch):
    network, _ = efficientnets
    network.layers[2].set_weights([np.array([0.485, 0.456, 0.406]), np.array(IMAGENET_DEVIATION_RGB), np.array(1)])
    path = tmp_path / "imagenet.weights.h5"
    network.save_weights(path)
    monkeypatch.setattr(keras.src.applications.efficientnet.file_utils, "get_file", lambda *_, **__: str(path))
    backbone = Backbone(architecture="EfficientNetB0", image_size=32, weights="imagenet")
    from_keras, from_file = (_with_weights(backbone.model_copy(update={"weights": weights})) for weights in ("imagenet", str(path)))
    inputs = [preprocess(PIXELS, architecture, base, factor).numpy() for base, architecture, factor in (from_keras, from_file)]
    assert np.array_equal(*inputs)
    stems = [keras.Model(base.get_layer("stem_conv_pad").input, base.output).get_weights() for base, *_ in (from_keras, from_file)]
    assert all(np.array_equal(*pair) for pair in zip(*stems, strict=True))
