"""The page's probabilities are those of the predictor in this process."""

import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import pytest

from components.core.files import read_json, write_json
from components.serving.loading import load_folder
from tests.support.real_images import real_images
from tests.support.service import Registry, change_candidate, copy_store, running_service

LINE = re.compile(r'<th scope="row">([a-z ]+?)(?: <span class="tag">named</span>)?</th>\s*<td class="number"><data value="([^"]+)">')
WIDE = {"max_dominant_color_fraction": 1.0, "min_contrast": 0.0, "min_side": 1}


def never_abstain(artifacts: Path) -> None:
    """Change a version so that it answers about every image."""
    change_candidate(abstention_threshold=0.0)(artifacts)
    index = read_json(artifacts / "index/index.json")
    novelty = index["novelty"] | {"threshold": None}
    write_json(artifacts / "index/index.json", index | {"novelty": novelty, "image_limits": WIDE})


@pytest.fixture(scope="module")
def registry(built, tmp_path_factory) -> Registry:
    registry = Registry.of(copy_store(built.root, tmp_path_factory.mktemp("answers") / "project"))
    assert registry.register(never_abstain) == "2"
    return registry


def ask(client: httpx.Client, content: bytes) -> httpx.Response:
    return client.post("/", data={"suitable": "yes"}, files={"image": ("x", content)}, headers={"Accept": "text/html"})


def test_fifty_real_images_by_page_are_those_of_the_predictor(registry, tmp_path):
    images = real_images(50)
    predictor = load_folder(registry.folders["2"])
    started = running_service(registry.root, tmp_path / "serve.log", "--version", "2")
    with started as service, service.client() as client, ThreadPoolExecutor(4) as pool:
        pages = list(pool.map(partial(ask, client), images))
    for page, content in zip(pages, images, strict=True):
        assert (page.status_code, page.headers["X-Lesionflow-Version"]) == (200, "2")
        shown = {name.replace(" ", "_"): float(share) for name, share in LINE.findall(page.text)}
        assert shown == pytest.approx(predictor.predict(content).probabilities, abs=1e-5)
