"""The routes of /v1 over a predictor that answers from an image's mean color."""

import subprocess
import sys
from hashlib import sha256

import pytest

from app.models.prediction_rows import KEYS, Row
from app.server import answering, examples
from app.server.schemas import Explanation, Model, Similar
from app.server.schemas import Row as RowSchema
from components.core.files import write_json
from components.serving.loading import ARTIFACTS
from tests.support.fake_service import FakePredictor, fake_client, picture


@pytest.fixture
def client(tmp_path):
    with fake_client(tmp_path) as client:
        yield client


def test_bytes_of_an_image_are_answered_as_predict_prints_them(client):
    answer = client.post("/v1/predict", content=picture(), headers={"Content-Type": "image/png"})
    loaded, predictor = client.app.state.engine.loaded, FakePredictor()
    assert answer.status_code == 200 and answer.headers["X-Lesionflow-Version"] == "3"
    expected = answering.row_form(loaded).as_object(Row("1", predictor.predict(picture())))
    (row,) = answer.json()
    assert row["probabilities"] == pytest.approx(expected["probabilities"]) and list(row) == list(expected)
    assert row["image"] == "1" and row["version"] == "3"


def test_each_of_several_images_has_a_row_in_order(client):
    files = [("image", ("a.jpg", picture(1))), ("image", ("b.jpg", b"no image")), ("image", ("c.jpg", picture(2, form="JPEG")))]
    rows = client.post("/v1/predict", files=files)
    assert rows.status_code == 200
    assert [(row["image"], row["error"]) for row in rows.json()] == [("1", None), ("2", "not a JPEG or PNG image"), ("3", None)]


def test_images_of_a_lesion_have_one_answer_with_their_spread(client):
    files = [("image", ("a", picture(number))) for number in (1, 2)] + [("image", ("x", picture(3)[:500]))]
    unreadable, row = client.post("/v1/predict", files=files, data={"lesion": "true"}).json()
    expected = FakePredictor().predict_lesion([picture(1), picture(2)])
    assert unreadable["image"] == "3" and unreadable["error"].startswith("truncated or corrupt")
    assert (row["image"], row["pictures"]) == ("1, 2", 2)
    assert row["probabilities"] == pytest.approx(expected.probabilities)
    assert row["picture_spread"]["malignant"] == pytest.approx(expected.picture_spread.malignant)


@pytest.mark.parametrize(
    ("contents", "fields", "status", "sentence"),
    [
        ([b"<svg/>"], {}, 415, "The image cannot be read: not a JPEG or PNG image."),
        ([b"a", b""], {}, 415, "No image can be read: image 1: not a JPEG or PNG image; image 2: empty file."),
        ([b""], {}, 422, "The image cannot be read: empty file."),
        ([picture()[:400]], {}, 422, "The image cannot be read: truncated or corrupt: "),
        ([picture()], {"lesion": "true"}, 422, "A lesion needs two or more images."),
        ([picture(), picture()], {"lesion": "true"}, 422, "Two images are the same. Send each image of the lesion once."),
        ([picture()], {"lesion": "perhaps"}, 422, "The field lesion must be true or false."),
        ([], {}, 422, "The request has no image. Send the field `image`, or the bytes of an image."),
    ],
)
def test_what_cannot_be_answered_has_one_sentence(client, contents, fields, status, sentence):
    files = [("image", ("name.jpg", content)) for content in contents] or {"lesion": (None, "false")}
    answer = client.post("/v1/predict", files=files, data=fields)
    assert answer.status_code == status and answer.json()["error"].startswith(sentence)
    assert answer.json()["request_id"] == answer.headers["X-Request-Id"]


def test_busy_service_names_when_to_try_again(client):
    client.app.state.engine.busy = True
    answer = client.post("/v1/predict", content=picture())
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json()["error"] == "Too many requests wait; try again later."
    client.app.state.engine.loaded = None
    for answer in (client.post("/v1/predict", content=picture()), client.get("/v1/model"), client.get("/v1/card")):
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


def test_map_has_a_grid_and_an_overlay(client):
    answer = client.post("/v1/explain", files={"image": ("x", picture())}, data={"output": "nevus"}).json()
    assert answer["grid"] == [[2.0, -4.0]] and "no evidence" in answer["meaning"]
    assert answer["overlay"].startswith("data:image/png;base64,") and Explanation.model_validate(answer)
    assert client.post("/v1/explain?output=nevus", content=picture()).json() == answer


def test_map_needs_a_known_output_and_one_readable_image(client):
    answer = client.post("/v1/explain", content=picture())
    assert (answer.status_code, answer.json()["error"]) == (422, "The field output must be one of melanoma, nevus, keratosis.")
    answer = client.post("/v1/explain?output=nevus", content=b"text")
    assert (answer.status_code, answer.json()["error"]) == (415, "The image cannot be read: not a JPEG or PNG image.")
    answer = client.post("/v1/explain", files=[("image", ("x", picture()))] * 2, data={"output": "nevus"})
    assert (answer.status_code, answer.json()["error"]) == (422, "A map is made of one image. Send one.")


def test_similar_cases_have_licence_and_picture(client):
    answer = client.post("/v1/similar", content=picture()).json()
    Similar.model_validate(answer)
    assert answer["neighbour_counts"] == {"nevus": 2}
    assert [case["thumbnail"] for case in answer["similar_cases"]] == ["/v1/similar/7.jpg?version=3", None]
    assert answer["similar_cases"][0]["license"] == "CC0" and answer["similar_cases"][0]["attribution"] == "somebody"


def test_picture_of_a_case_is_that_of_its_version(client, tmp_path):
    artifacts = tmp_path / ARTIFACTS
    (artifacts / "index/thumbnails").mkdir(parents=True)
    (artifacts / "index/thumbnails/7.jpg").write_bytes(b"jpeg")
    write_json(artifacts / "sha256.json", {"index/thumbnails/7.jpg": sha256(b"jpeg").hexdigest()})
    found = client.get("/v1/similar/7.jpg?version=3")
    assert (found.status_code, found.content, found.headers["Content-Type"]) == (200, b"jpeg", "image/jpeg")
    assert client.get("/v1/similar/8.jpg").status_code == 404
    moved = client.get("/v1/similar/7.jpg?version=2")
    assert moved.json()["error"] == "Another version answers now: 3. Ask for similar cases again."
    (artifacts / "index/thumbnails/7.jpg").write_bytes(b"another")
    assert client.get("/v1/similar/7.jpg").status_code == 404
    for number in ("-1", "x", "..%2F..%2Fsha256", "7.jpg%00"):
        assert client.get(f"/v1/similar/{number}.jpg").status_code in (404, 422)


def test_model_names_operating_points_and_card(client, tmp_path):
    answer = client.get("/v1/model").json()
    Model.model_validate(answer)
    assert answer["operating_points"] == {"triage": {"threshold": 0.2, "sensitivity": 0.95, "specificity": 0.4}}
    assert answer["malignant"] == ["melanoma"] and answer["card"] is None
    assert client.get("/v1/card").status_code == 404
    (tmp_path / ARTIFACTS / "card").mkdir()
    (tmp_path / ARTIFACTS / "card/card.md").write_text("# Card\n", encoding="utf-8")
    assert client.get("/v1/card").text == "# Card\n" and client.get("/v1/model").json()["card"] == "/v1/card"


def test_described_shape_is_that_of_the_rows():
    assert list(RowSchema.model_fields) == ["image", "model", "version", "error", *KEYS]
    assert [list(row) for row in examples.ANSWERS["/v1/predict", "post"]] == [list(RowSchema.model_fields)] * 2


def test_answering_process_imports_no_heavy_package():
    heavy = ("tensorflow", "mlflow", "pandas", "prefect", "scipy", "dvc")
    code = f"import sys, app.server.application; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
