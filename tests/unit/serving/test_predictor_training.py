"""What a predictor says by its index of training images: similar cases, reasons to abstain, activation maps."""

import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from components.core.errors import LesionflowError
from components.imaging import images
from components.serving.activation import Head
from components.serving.answers import NOT_DERMOSCOPIC, TOO_UNCERTAIN, UNLIKE_TRAINING
from components.serving.network import Network
from components.serving.predictor import Predictor
from tests.support.images import encoded, textured
from tests.support.training_index import add_index, index
from tests.support.versions import OUTPUTS, SIZE, as_tflite, tiny_classifier, write_version

pytest.importorskip("keras")

TRAINING = [encoded(textured(number, 60, 50), "PNG") for number in range(12)]
LINEAR = Head((np.eye(6, 3),), (np.array([0.5, -0.5, 0.1]),))
KEYBOARD = np.full((90, 120, 3), (43, 43, 43), dtype=np.uint8)
KEYBOARD[5:85, 5:115] = (208, 208, 200)
NOT_LESIONS = {
    "white": Image.new("RGB", (60, 50), "white"),
    "black": Image.new("RGB", (60, 50)),
    "keyboard": Image.fromarray(KEYBOARD),
    "one pixel": Image.new("RGB", (1, 1), "tan"),
}


@pytest.fixture(scope="module")
def classifier():
    return tiny_classifier()


@pytest.fixture(scope="module")
def server(classifier):
    return as_tflite(classifier, server=True)


@pytest.fixture(scope="module")
def features(server):
    network = Network(server)
    return np.stack([network.run(images.load_pixels(content, SIZE)).features for content in TRAINING])


@pytest.fixture
def version(tmp_path, server, features):
    def write(head=LINEAR, keys=None, changes=(), **index_values):
        made = index(features, keys=keys, diagnoses=OUTPUTS, **index_values)
        return add_index(write_version(tmp_path, server, **dict(changes)), made, features, head)

    return write


def test_training_image_is_recognized_with_its_case(version):
    predictor = Predictor.of_folder(version())
    for number, content in enumerate(TRAINING):
        found = predictor.predict(content)
        assert found.in_training
        assert found.similar[0].diagnosis == OUTPUTS[number % 3]
        assert found.similar[0].distance < 2e-5
        assert sum(found.neighbour_counts.values()) == len(found.similar) == 12
        assert UNLIKE_TRAINING not in found.abstained


def test_predictor_for_another_thread_shares_the_index_and_answers_alike(version):
    one = Predictor.of_folder(version())
    other = one.for_another_thread()
    assert (other._training is one._training, other._network._content is one._network._content) == (True, True)
    with ThreadPoolExecutor(2) as pool:
        found = [pool.submit(lambda predictor: [predictor.predict(content) for content in TRAINING], each) for each in (one, other)]
    assert found[0].result() == found[1].result()


def test_other_image_is_not_of_training(version):
    assert not Predictor.of_folder(version()).predict(encoded(textured(99, 60, 50), "PNG")).in_training


@pytest.mark.parametrize("kind", NOT_LESIONS)
def test_picture_that_is_not_dermoscopic_is_withheld(version, kind):
    found = Predictor.of_folder(version(threshold=None)).predict(encoded(NOT_LESIONS[kind], "PNG"))
    assert found.abstained == (NOT_DERMOSCOPIC,)


def test_reasons_are_told_in_order_and_hide_no_alarm(version):
    folder = version(threshold=0.0, lesion=1, changes={"abstention_threshold": 1.1, "operating_points": {"triage": 0.0}}.items())
    found = Predictor.of_folder(folder).predict(encoded(NOT_LESIONS["white"], "PNG"))
    assert found.abstained == (NOT_DERMOSCOPIC, UNLIKE_TRAINING, TOO_UNCERTAIN)
    assert found.operating_points["triage"]


def test_lesion_has_the_reasons_of_each_picture_and_one_list_of_cases(version):
    predictor = Predictor.of_folder(version(keys=[number // 2 for number in range(12)]))
    found = predictor.predict_lesion([TRAINING[0], encoded(NOT_LESIONS["white"], "PNG")])
    assert NOT_DERMOSCOPIC in found.abstained
    assert found.in_training
    assert len(found.similar) == 6


def test_activation_map_and_offset_are_the_logit(version, server):
    predictor = Predictor.of_folder(version())
    maps = Network(server).run(images.load_pixels(TRAINING[3], SIZE)).maps
    for output, bias in zip(OUTPUTS, LINEAR.biases[0], strict=True):
        found = predictor.activation_map(TRAINING[3], output)
        assert found.shape == maps.shape[:2]
        expected = maps.mean(axis=(0, 1)) @ LINEAR.kernels[0] + LINEAR.biases[0]
        assert found.mean() + bias == pytest.approx(expected[OUTPUTS.index(output)], abs=1e-4)


def test_activation_map_of_another_output_is_refused(version):
    with pytest.raises(LesionflowError, match="'wart' is not an output"):
        Predictor.of_folder(version()).activation_map(TRAINING[0], "wart")


def test_thumbnail_of_a_similar_case(version):
    predictor = Predictor.of_folder(version(pictured=True))
    case = predictor.predict(TRAINING[4]).similar[0]
    assert predictor.thumbnail(case.thumbnail) == f"thumbnail {case.thumbnail}".encode()


@pytest.mark.parametrize("name", ["features.npy", "cases.json", "index.json", "head.npz"])
@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_missing_or_changed_file_of_the_index_is_named(version, name, damage):
    folder = version()
    path = folder / "index" / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b" ")
    with pytest.raises(LesionflowError, match=f"{re.escape(f'index/{name}')}.*{damage}"):
        Predictor.of_folder(folder)


def test_changed_thumbnail_is_named(version):
    folder = version(pictured=True)
    (folder / "index/thumbnails/3.jpg").write_bytes(b"another picture")
    with pytest.raises(LesionflowError, match=r"index/thumbnails/3\.jpg"):
        Predictor.of_folder(folder).thumbnail(3)


def test_version_without_index_has_neither_cases_nor_maps(tmp_path, server):
    predictor = Predictor.of_folder(write_version(tmp_path, server))
    found = predictor.predict(encoded(NOT_LESIONS["white"], "PNG"))
    assert (found.similar, found.neighbour_counts, found.in_training, found.abstained) == ((), {}, False, ())
    with pytest.raises(LesionflowError, match="no activation maps"):
        predictor.activation_map(TRAINING[0], OUTPUTS[0])
