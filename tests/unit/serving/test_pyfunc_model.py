"""The model that MLflow serves answers like the predictor, whatever form an image has."""

import io

import numpy as np
import pytest
from mlflow.pyfunc import PythonModelContext
from PIL import Image

from components.serving.predictor import Predictor
from components.serving.pyfunc_model import LesionClassifier
from tests.support.images import noise
from tests.support.versions import OUTPUTS, as_tflite, tiny_classifier, write_version

pd = pytest.importorskip("pandas")
pytest.importorskip("keras")


def saved(image: Image.Image, form: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(noise(3, 60), "JPEG", exif=exif)


def images() -> dict[str, bytes]:
    """Images of every kind that is read: JPEG, PNG, rotated by EXIF, CMYK, MPO and 16 bits per channel."""
    deep = Image.fromarray(np.random.default_rng(0).integers(0, 65536, (40, 50)).astype(np.uint16))
    kinds = {
        "exif": rotated(),
        "cmyk": saved(noise(4, 60).convert("CMYK"), "JPEG"),
        "mpo": saved(noise(5, 60), "MPO", save_all=True, append_images=[noise(6, 60)]),
        "16-bit": saved(deep, "PNG"),
        "rgba": saved(noise(7, 60).convert("RGBA"), "PNG"),
        "gray": saved(noise(8, 60).convert("L"), "JPEG"),
    }
    kinds |= {f"jpeg {number}": saved(noise(number, 30 + 7 * number), "JPEG") for number in range(22)}
    return kinds | {f"png {number}": saved(noise(100 + number, 30 + 7 * number), "PNG") for number in range(22)}


@pytest.fixture(scope="module")
def content():
    return as_tflite(tiny_classifier(), server=True)


def served(folder):
    model, context = LesionClassifier(), PythonModelContext({"candidate": str(folder / "candidate")}, None)
    model.load_context(context)
    return lambda contents: model.predict(context, pd.DataFrame({"image": contents}))


def test_fifty_images_get_answers_of_predictor(tmp_path, content):
    folder = write_version(tmp_path, content, views=4, abstention_threshold=0.5, decision_offsets=[0.4, 0.0, 0.0])
    predictor, given = Predictor.of_folder(folder), images()
    table = served(folder)(list(given.values()))
    assert len(table) == 50
    answers = [predictor.predict(found) for found in given.values()]
    assert len({answer.diagnosis for answer in answers}) > 1 and len({answer.abstained for answer in answers}) > 1
    assert np.abs(table[list(OUTPUTS)].to_numpy() - [list(answer.probabilities.values()) for answer in answers]).max() < 1e-5
    assert table["diagnosis"].tolist() == [answer.diagnosis for answer in answers]
    assert table["malignant_probability"].to_numpy() == pytest.approx([answer.malignant for answer in answers])
    assert table["alarm"].tolist() == [answer.alarm for answer in answers]
    assert table["abstained"].tolist() == ["; ".join(answer.abstained) for answer in answers]
    assert table["prediction_set"].tolist() == [", ".join(answer.prediction_set) for answer in answers]


def test_columns_follow_the_outputs(tmp_path, content):
    folder = write_version(tmp_path, content, label_set={"name": "x", "malignant": []}, set_thresholds=[])
    table = served(folder)([saved(noise(1, 40), "PNG")])
    assert list(table) == ["diagnosis", *OUTPUTS, "malignant_probability", "alarm", "abstained", "prediction_set"]
    assert table["malignant_probability"].isna().all() and not table["alarm"].any()
