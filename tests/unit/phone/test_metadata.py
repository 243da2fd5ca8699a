import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import number_types

from components.core.errors import LesionflowError
from components.phone import metadata
from components.phone.metadata import Classifier, Labels
from tests.support import tflite

IDS = ("melanoma", "nevus", "basal_cell_carcinoma")
NAMES = ("Melanoma", "Nævus", "basal cell carcinoma")
CLASSIFIER = Classifier(
    name="skin",
    description="Skin lesions.",
    version="3",
    size=tflite.SIZE,
    input="The centered square.",
    output="One probability a class.",
    labels=(Labels("labels.txt", IDS), Labels("labels-en.txt", NAMES, "en")),
)
PIXELS = np.random.default_rng(0).integers(0, 256, (tflite.SIZE, tflite.SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def network() -> bytes:
    return tflite.tiny_network(len(IDS))


@pytest.fixture(scope="module")
def described(network) -> bytes:
    return metadata.with_metadata(network, CLASSIFIER, {"lesionflow.json": b"{}"})


def test_metadata_name_the_model_and_its_tensors(described):
    model = tflite.read_metadata(described)
    (subgraph,) = model.tables(3)
    (source,), (target,) = subgraph.tables(2), subgraph.tables(3)
    assert [model.text(slot) for slot in (0, 1, 2, 7)] == ["skin", "Skin lesions.", "3", "1.0.0"]
    assert [(tensor.text(0), tensor.text(1)) for tensor in (source, target)] == [
        ("image", "The centered square."),
        ("probability", "One probability a class."),
    ]


def test_input_is_an_rgb_image_that_is_not_rescaled(described):
    source = tflite.read_metadata(described).tables(3)[0].tables(2)[0]
    content = source.table(3)
    image, size = content.table(1), content.table(1).table(1)
    (unit,) = source.tables(4)
    assert content.number(0) == 2  # ImageProperties
    assert image.number(0, number_types.Int8Flags) == 1  # RGB
    assert [size.number(slot, number_types.Uint32Flags) for slot in (0, 1)] == [tflite.SIZE, tflite.SIZE]
    assert unit.number(0) == 1  # NormalizationOptions
    assert (unit.table(1).floats(0), unit.table(1).floats(1)) == ([0.0], [1.0])
    assert (source.table(5).floats(0), source.table(5).floats(1)) == ([255.0], [0.0])


def test_labels_are_packed_in_the_order_of_the_outputs(described):
    target = tflite.read_metadata(described).tables(3)[0].tables(3)[0]
    listed = [(file.text(0), file.number(2, number_types.Int8Flags), file.text(3)) for file in target.tables(6)]
    assert listed == [("labels.txt", 2, None), ("labels-en.txt", 2, "en")]  # TENSOR_AXIS_LABELS
    packed = tflite.packed_files(described)
    assert packed["labels.txt"].decode().split() == list(IDS)
    assert packed["labels-en.txt"].decode().splitlines() == list(NAMES)
    assert packed["lesionflow.json"] == b"{}"


def test_file_computes_what_it_did(network, described):
    assert np.array_equal(tflite.run(described, PIXELS), tflite.run(network, PIXELS))


def test_equal_arguments_give_equal_bytes(network, described):
    assert metadata.with_metadata(network, CLASSIFIER, {"lesionflow.json": b"{}"}) == described


def test_tensors_lie_at_multiples_of_16_bytes(described):
    model = schema.Model.GetRootAs(described, 0)
    buffers = [model.Buffers(number) for number in range(model.BuffersLength())]
    starts = [buffer._tab.Vector(buffer._tab.Offset(4)) for buffer in buffers if buffer.DataLength()]
    assert len(starts) == 3
    assert [start % 16 for start in starts] == [0, 0, 0]


def test_network_must_give_a_value_for_each_label():
    with pytest.raises(LesionflowError, match=r"\[\[1, 1\]\], and \[\[1, 3\]\] is needed"):
        metadata.with_metadata(tflite.tiny_network(1), CLASSIFIER, {})


def test_mediapipe_classifies_with_the_file(described):
    mediapipe = pytest.importorskip("mediapipe", reason="MediaPipe is not installed: pip install 'mediapipe>=1.2'")
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_buffer=described), display_names_locale="en")
    with vision.ImageClassifier.create_from_options(options) as classifier:
        found = classifier.classify(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=PIXELS))
    categories = sorted(found.classifications[0].categories, key=lambda category: category.index)
    assert [(category.category_name, category.display_name) for category in categories] == list(zip(IDS, NAMES, strict=True))
    assert np.allclose([category.score for category in categories], tflite.run(described, PIXELS), atol=1e-6)
