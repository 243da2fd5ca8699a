import numpy as np
import pytest

from components.exporting import int8, rounding, tflite
from components.modeling.backbone import get_base
from components.modeling.classifier import get_extractor
from tests.support import models

pytestmark = pytest.mark.slow

SIZE = 32
SKIN_COLORS = ((240, 210, 200), (224, 180, 160), (190, 140, 120), (150, 100, 80), (90, 60, 50))
FIRST_BLOCK = ("Conv1", "expanded_conv_depthwise", "expanded_conv_project")


@pytest.fixture(scope="module")
def classifier():
    return models.depthwise_classifier(SIZE)


def batches():
    return models.random_images(32, SIZE, first=300).astype(np.uint8).reshape(2, 16, SIZE, SIZE, 3)


def even_skin():
    """Images of one color each."""
    return np.stack([np.full((SIZE, SIZE, 3), color, np.float32) for color in SKIN_COLORS])


def rounded_to_nearest(classifier):
    """A copy whose kernels after the first block are rounded as the converter rounds them."""
    import keras

    copy = keras.models.clone_model(classifier)
    copy.set_weights(classifier.get_weights())
    for layer in get_base(copy).layers:
        if hasattr(layer, "kernel") and layer.name not in FIRST_BLOCK:
            kernel, bias = layer.get_weights()
            filters = rounding.depthwise_filters(kernel) if int8.is_depthwise(layer) else rounding.convolution_filters(kernel)
            layer.set_weights([rounding.round_to_nearest(filters).T.reshape(kernel.shape), bias])
    return copy


def test_rounded_copy_is_closer_than_plain_rounding_on_even_skin(classifier):
    exact, kept, plain = (
        get_extractor(network)(even_skin()).numpy()
        for network in (classifier, int8.rounded_copy(classifier, batches, FIRST_BLOCK), rounded_to_nearest(classifier))
    )
    assert np.abs(kept - exact).mean() < 0.5 * np.abs(plain - exact).mean()


def test_rounded_copy_keeps_the_first_block_and_the_classifier(classifier):
    before = classifier.get_weights()
    copy = int8.rounded_copy(classifier, batches, FIRST_BLOCK)
    assert all(np.array_equal(*pair) for pair in zip(before, classifier.get_weights(), strict=True))
    for name in FIRST_BLOCK:
        assert np.array_equal(get_base(copy).get_layer(name).kernel, get_base(classifier).get_layer(name).kernel)
    assert not np.array_equal(get_base(copy).get_layer("block_1_project").kernel, get_base(classifier).get_layer("block_1_project").kernel)


def test_rounded_copy_has_the_mean_output_of_the_classifier(classifier):
    images = np.concatenate(batches())
    exact, kept, plain = (
        get_extractor(network)(images).numpy().mean(axis=0)
        for network in (classifier, int8.rounded_copy(classifier, batches, FIRST_BLOCK), rounded_to_nearest(classifier))
    )
    assert np.abs(kept - exact).mean() < np.abs(plain - exact).mean()


def test_int8_file_keeps_first_block_and_head_in_float(classifier):
    import tensorflow as tf

    content = tflite.convert_to_tflite(classifier, "int8", batches)
    types = {row["name"]: row["dtype"] for row in tf.lite.Interpreter(model_content=content).get_tensor_details()}
    in_float = [name for name in tflite.operator_outputs(content) if types.get(name) == np.float32]
    quantized = [name for name in tflite.operator_outputs(content) if types.get(name) == np.int8]
    assert all(any(layer in name for name in in_float) for layer in (*FIRST_BLOCK, "features", "logits"))
    assert all(any(layer in name for name in quantized) for layer in ("block_1_expand", "block_1_depthwise", "block_1_project"))


def test_int8_file_is_closer_to_keras_than_the_converters_own_rounding(classifier):
    images = np.concatenate([even_skin(), models.labeled_images(40, SIZE, first=900)[0]])
    expected = classifier(images).numpy()
    exported, plain = (
        np.abs(np.stack([predict(image[None]) for image in images]) - expected).mean()
        for predict in map(
            tflite.tflite_predictor, (tflite.convert_to_tflite(classifier, "int8", batches), tflite.quantize(classifier, batches))
        )
    )
    assert exported < 0.5 * plain


def test_float32_file_gives_the_probabilities_of_keras(classifier):
    images, _ = models.labeled_images(20, SIZE, first=900)
    predict = tflite.tflite_predictor(tflite.convert_to_tflite(classifier, "float32", tuple))
    assert np.abs(np.stack([predict(image[None]) for image in images]) - classifier(images).numpy()).max() < 1e-4


@pytest.mark.parametrize(
    ("architecture", "last"), [("MobileNetV2", "expanded_conv_project_BN"), ("EfficientNetB0", "block1a_project_bn"), ("ResNet50", None)]
)
def test_first_block_of_each_architecture(architecture, last):
    assert int8.first_block(models.classifier(architecture, 32))[-1:] == ([last] if last else [])


def test_float_tensors_are_those_up_to_the_first_block_and_after_the_base():
    operators = [
        "c/preprocessing_1/mul",
        "c/base_1/Conv1_1/add;x",
        "c/base_1/block_1_expand_1/add",
        "c/base_1/block_10_add/Add",
        "c/Mean",
        "out",
    ]
    assert int8.float_tensors(operators, ["Conv1", "block"]) == [*operators[:2], *operators[4:]]
