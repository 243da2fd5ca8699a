import io
import json

import numpy as np
import pytest

from components.core.errors import LesionflowError, UnreadableImageError
from components.imaging import images
from components.imaging.symmetries import symmetric_views
from components.serving.answers import TOO_UNCERTAIN
from components.serving.network import Network
from components.serving.predictor import Predictor
from tests.support.images import noise
from tests.support.versions import OUTPUTS, SIZE, as_tflite, tiny_classifier, write_version

pytest.importorskip("keras")


@pytest.fixture(scope="module")
def classifier():
    return tiny_classifier()


@pytest.fixture(scope="module")
def server(classifier):
    return as_tflite(classifier, server=True)


def png(number: int, size: int = 40) -> bytes:
    stream = io.BytesIO()
    noise(number, size).save(stream, "PNG")
    return stream.getvalue()


def of_keras(classifier, content, views):
    pixels = images.load_pixels(content, SIZE)
    return classifier.predict(np.stack(symmetric_views(pixels, views)).astype(np.float32), verbose=0)


def probabilities(answer):
    return np.array(list(answer.probabilities.values()))


@pytest.mark.parametrize("views", [1, 2, 8])
def test_probabilities_are_mean_of_views_of_keras(tmp_path, classifier, server, views):
    predictor = Predictor.of_folder(write_version(tmp_path, server, views=views))
    found = predictor.predict(png(1))
    expected = of_keras(classifier, png(1), views)
    assert probabilities(found) == pytest.approx(expected.mean(axis=0), abs=1e-6)
    assert found.view_spread.outputs["nevus"] == pytest.approx((expected[:, 1].min(), expected[:, 1].max()), abs=1e-6)
    assert found.diagnosis == OUTPUTS[expected.mean(axis=0).argmax()]
    assert found.picture_spread is None and found.pictures == 1


def test_turned_image_has_same_answer_with_eight_views(tmp_path, server):
    eight = Predictor.of_folder(write_version(tmp_path / "eight", server, views=8))
    one = Predictor.of_folder(write_version(tmp_path / "one", server))
    turned = io.BytesIO()
    noise(1, SIZE).transpose(images.TURNS[6]).save(turned, "PNG")
    upright = png(1, SIZE)
    assert probabilities(eight.predict(turned.getvalue())) == pytest.approx(probabilities(eight.predict(upright)), abs=1e-6)
    assert np.abs(probabilities(one.predict(turned.getvalue())) - probabilities(one.predict(upright))).max() > 1e-3


def test_lesion_is_mean_of_its_pictures_with_spread_between_them(tmp_path, server):
    predictor = Predictor.of_folder(write_version(tmp_path, server, views=2))
    single = [probabilities(predictor.predict(png(number))) for number in (1, 2, 3)]
    found = predictor.predict_lesion([png(1), png(2), png(3)])
    assert probabilities(found) == pytest.approx(np.mean(single, axis=0))
    assert found.picture_spread.outputs["melanoma"] == pytest.approx((min(p[0] for p in single), max(p[0] for p in single)))
    assert found.pictures == 3


def test_offsets_name_diagnosis_and_leave_probabilities(tmp_path, server):
    plain = Predictor.of_folder(write_version(tmp_path / "plain", server)).predict(png(1))
    lifted = Predictor.of_folder(write_version(tmp_path / "lifted", server, decision_offsets=[0.0, 0.0, 50.0])).predict(png(1))
    assert lifted.diagnosis == "keratosis" and lifted.probabilities == plain.probabilities


def test_uncertain_answer_is_withheld(tmp_path, server):
    assert Predictor.of_folder(write_version(tmp_path, server, abstention_threshold=1.0)).predict(png(1)).abstained == (TOO_UNCERTAIN,)


def test_version_without_server_file_predicts_with_float32(tmp_path, classifier, server):
    plain = Predictor.of_folder(write_version(tmp_path / "plain", as_tflite(classifier), "model_float32.tflite"))
    full = Predictor.of_folder(write_version(tmp_path / "full", server))
    assert probabilities(plain.predict(png(4))) == pytest.approx(probabilities(full.predict(png(4))), abs=1e-6)


def test_one_sigmoid_gives_both_outputs(tmp_path):
    single = tiny_classifier(outputs=1)
    predictor = Predictor.of_folder(write_version(tmp_path, as_tflite(single), "model_float32.tflite", outputs=("melanoma", "nevus")))
    expected = of_keras(single, png(5), 1)[0, 0]
    assert probabilities(predictor.predict(png(5))) == pytest.approx([1 - expected, expected], abs=1e-6)


def test_network_gives_features_and_maps_of_server_file(classifier, server):
    import keras

    pixels = images.load_pixels(png(6), SIZE)
    found = Network(server).run(pixels)
    layer = classifier.get_layer("features")
    features, maps = keras.Model(classifier.input, [layer.output, layer.input]).predict(pixels[None].astype(np.float32), verbose=0)
    assert found.features == pytest.approx(features[0], abs=1e-5)
    assert found.maps == pytest.approx(maps[0], abs=1e-5)
    alone = Network(as_tflite(classifier)).run(pixels)
    assert alone.features is None and alone.maps is None


def test_runtime_writes_nothing_to_the_terminal(server, capfd):
    Network(server)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["candidate/candidate.json", "export/server.tflite"])
@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_missing_or_changed_file_is_named(tmp_path, server, name, damage):
    path = write_version(tmp_path, server) / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b" ")
    with pytest.raises(LesionflowError, match=rf"(?s){name}.*{damage}.*Use another version"):
        Predictor.of_folder(tmp_path)


@pytest.mark.parametrize("content", [None, "{", "[1]", '{"a": 1}'])
def test_damaged_list_of_files_is_named(tmp_path, server, content):
    path = write_version(tmp_path, server) / "sha256.json"
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    with pytest.raises(LesionflowError, match=r"sha256\.json"):
        Predictor.of_folder(tmp_path)


def test_file_that_was_not_registered_is_not_used(tmp_path, server):
    folder = write_version(tmp_path, server)
    digests = json.loads((folder / "sha256.json").read_text())
    del digests["export/server.tflite"]
    (folder / "sha256.json").write_text(json.dumps(digests))
    with pytest.raises(LesionflowError, match=r"export/model_float32\.tflite is missing"):
        Predictor.of_folder(folder)


def test_unreadable_image_raises_its_reason(tmp_path, server):
    with pytest.raises(UnreadableImageError):
        Predictor.of_folder(write_version(tmp_path, server)).predict(b"text")


def test_lesion_without_pictures_is_refused(tmp_path, server):
    with pytest.raises(ValueError, match="one or more images"):
        Predictor.of_folder(write_version(tmp_path, server)).predict_lesion([])
