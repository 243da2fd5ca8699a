"""Answers of a started service are those of the predictor in this process and of the command line."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from components.registry.local_versions import find_local_version
from components.serving.loading import load_folder
from tests.support.fake_service import picture
from tests.support.project import Project
from tests.support.real_images import real_images

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def predictor(served):
    found = find_local_version(f"sqlite:///{served}/mlruns/mlflow.db", "skin-lesion-mobilenetv2", "champion")
    return load_folder(found.folder)


def distance(rows, answers):
    pairs = zip(rows, answers, strict=True)
    return max(abs(row["probabilities"][name] - share) for row, answer in pairs for name, share in answer.probabilities.items())


def test_fifty_real_images_by_rest_and_command_are_those_of_the_predictor(service, served, predictor, tmp_path):
    pictures = real_images(50)
    answers = [predictor.predict(content) for content in pictures]
    with service.client() as client, ThreadPoolExecutor(4) as pool:
        by_bytes = [
            row for found in pool.map(lambda content: client.post("/v1/predict", content=content), pictures) for row in found.json()
        ]
        eight = client.post("/v1/predict", files=[("image", ("a.png", content)) for content in pictures[:8]]).json()
    for number, content in enumerate(pictures):
        (tmp_path / f"{number:02}.jpg").write_bytes(content)
    printed = Project(served).lesionflow("predict", str(tmp_path), "--format", "jsonl").stdout.splitlines()
    by_command = [json.loads(line) for line in printed]
    assert len(by_bytes) == len(by_command) == 50
    assert distance(by_bytes, answers) < TOLERANCE and distance(by_command, answers) < TOLERANCE
    assert distance(eight, answers[:8]) < TOLERANCE
    without_name = [{**row, "image": ""} for row in by_command]
    assert [list(row) for row in by_bytes] == [list(row) for row in without_name]
    assert [(row["diagnosis"], row["abstained"]) for row in by_bytes] == [(row["diagnosis"], row["abstained"]) for row in without_name]


def test_lesion_map_similar_cases_model_and_card(service, predictor):
    first, second = picture(1, 200), picture(2, 200)
    with service.client() as client:
        (row,) = client.post("/v1/predict", files=[("image", first), ("image", second)], data={"lesion": "true"}).json()
        assert distance([row], [predictor.predict_lesion([first, second])]) < TOLERANCE and row["pictures"] == 2
        grid = client.post("/v1/explain?output=nevus", content=first).json()["grid"]
        assert np.allclose(grid, predictor.predictor.activation_map(first, "nevus"), atol=TOLERANCE)
        similar = client.post("/v1/similar", content=first)
        counts, cases = similar.json()["neighbour_counts"], similar.json()["similar_cases"]
        assert sum(counts.values()) == len(cases) == 16 and all(case["license"] for case in cases)
        thumbnail = client.get(next(case["thumbnail"] for case in cases if case["thumbnail"]))
        assert thumbnail.content.startswith(b"\xff\xd8\xff") and thumbnail.headers["X-Lesionflow-Version"] == "1"
        model = client.get("/v1/model").json()
        assert model["operating_points"]["triage"]["sensitivity"] is not None and model["data_md5"] and model["registered"]
        assert client.get(model["card"]).text.startswith("---\n")
