"""The champion moves while programs ask: no request fails, and each answer is the one of the version that it names."""

import shutil
import threading
import time

import pytest

from app.models.lookup import FoundVersion
from app.server.version_loading import load_predictors
from components.core.errors import LesionflowError
from tests.support.images import encoded, textured
from tests.support.service import MODEL, Registry, change_candidate, copy_store, running_service

CLIENTS, IMAGES, MOVES = 20, 4, 3


@pytest.fixture(scope="module")
def registry(served, tmp_path_factory) -> Registry:
    """A store with a second version, which sees an image in another number of views, and a third, which is damaged."""
    registry = Registry.of(copy_store(served, tmp_path_factory.mktemp("moving") / "project"))
    (views,) = {predictor.contract.views for predictor in predictors(registry, "1")}
    registry.register(change_candidate(views=2 if views == 1 else 1))
    damaged = registry.register(change_candidate())
    (registry.folders[damaged] / "artifacts/export/server.tflite").write_bytes(b"damaged")
    return registry


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    return [encoded(textured(number)) for number in range(IMAGES)]


def predictors(registry: Registry, number: str):
    return load_predictors(FoundVersion(MODEL, number, registry.folders[number]), 1)


def expected(registry: Registry, images: list[bytes]) -> dict[str, list[dict[str, float]]]:
    return {number: [predictors(registry, number)[0].predict(image).probabilities for image in images] for number in "12"}


class Clients:
    """Clients who send images until they are ended."""

    def __init__(self, service, images):
        self.answers, self._ended = [], threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(service, images, number)) for number in range(CLIENTS)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self, service, images, number):
        with service.client() as client:
            while not self._ended.is_set():
                number = (number + 1) % IMAGES
                found = client.post("/v1/predict", content=images[number], headers={"Content-Type": "image/jpeg"})
                self.answers.append((number, found))


def wait_until_answers(service, number: str) -> None:
    with service.client() as client:
        end = time.monotonic() + 30
        while client.get("/ready").json()["version"] != number:
            assert time.monotonic() < end, service.lines()
            time.sleep(0.05)


def test_champion_moves_under_load(registry, images, tmp_path):
    truth = expected(registry, images)
    assert truth["1"] != truth["2"]
    with running_service(registry.root, tmp_path / "serve.log") as service:
        with Clients(service, images) as clients:
            for move in range(MOVES):
                number = "21"[move % 2]
                registry.promote(number)
                wait_until_answers(service, number)
                time.sleep(0.3)
        assert {found.status_code for _, found in clients.answers} == {200}
        versions = [found.headers["X-Lesionflow-Version"] for _, found in clients.answers]
        assert set(versions) == {"1", "2"}
        for (image, found), version in zip(clients.answers, versions, strict=True):
            (row,) = found.json()
            assert row["version"] == version
            assert row["probabilities"] == pytest.approx(truth[version][image], abs=1e-5)


def test_damaged_version_leaves_the_former_one_and_is_told(registry, images, tmp_path):
    with running_service(registry.root, tmp_path / "serve.log") as service, service.client() as client:
        before = client.get("/ready").json()["version"]
        registry.promote("3")
        end = time.monotonic() + 30
        while (found := client.get("/ready").json())["problem"] is None:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert found == {"ready": True, "version": before, "problem": "version 3 cannot be loaded"}
        assert "lesionflow_load_failures_total 1.0" in client.get("/metrics").text
        answer = client.post("/v1/predict", content=images[0], headers={"Content-Type": "image/jpeg"})
        assert (answer.status_code, answer.headers["X-Lesionflow-Version"]) == (200, before)
        assert any("server.tflite" in line and f"Version {before} goes on answering" in line for line in service.lines())
        registry.promote(before)


def test_version_whose_code_fails_is_told_in_a_sentence(registry, tmp_path):
    folder = tmp_path / "version"
    shutil.copytree(registry.folders["1"], folder)
    (code,) = (folder / "code").glob("*")
    renamed = code.rename(code.with_name("lesionflow_served_0123456789abcdef"))
    (renamed / "serving/predictor.py").write_text("import no_such_package\n")
    with pytest.raises(LesionflowError, match=r"version 9 of .* cannot be loaded: ModuleNotFoundError: No module named 'no_such_package'"):
        load_predictors(FoundVersion(MODEL, "9", folder), 1)


def test_version_without_index_is_refused_with_the_way_to_register(registry):
    number = registry.register(lambda artifacts: shutil.rmtree(artifacts / "index"))
    with pytest.raises(LesionflowError, match=r"has no index/index\.json, so it cannot be served\. Register .*`dvc repro`"):
        predictors(registry, number)
