"""The API's description: an example for every answer and error, and a page that needs no other host."""

import re

import pytest
from pydantic import TypeAdapter

from app.server import documented, examples
from app.server.schemas import Error, Explanation, Model, Row, Similar
from tests.support.fake_service import KEY, fake_client

ROUTES = {
    "/v1/predict": (list[Row], "post"),
    "/v1/explain": (Explanation, "post"),
    "/v1/similar": (Similar, "post"),
    "/v1/model": (Model, "get"),
}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with fake_client(tmp_path_factory.mktemp("version")) as client:
        yield client


@pytest.fixture(scope="module")
def described(client):
    return client.get("/openapi.json").json()


def test_every_route_of_programs_is_described_and_none_of_people(described):
    assert set(described["paths"]) == {*ROUTES, "/v1/similar/{number}.jpg", "/v1/card", "/health", "/ready", "/metrics"}
    assert described["info"]["description"].startswith("An API that asks a registered version")
    assert described["components"]["securitySchemes"]["key"]["scheme"] == "bearer"


@pytest.mark.parametrize("path", ROUTES)
def test_examples_have_the_described_shape(described, path):
    shape, method = ROUTES[path]
    answered = described["paths"][path][method]["responses"]["200"]
    TypeAdapter(shape).validate_python(answered["content"]["application/json"]["example"])
    assert "X-Lesionflow-Version" in answered["headers"]


def test_every_error_has_an_example(described):
    count = 0
    for path, operations in described["paths"].items():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if int(status) >= 400 and path.startswith("/v1/"):
                    Error.model_validate(response["content"]["application/json"]["example"])
                    count += 1
    assert count > 60 and set(documented.COMPUTING) < set(examples.SENTENCES)


def test_bodies_are_forms_or_bytes(described):
    body = described["paths"]["/v1/predict"]["post"]["requestBody"]["content"]
    assert set(body) == {"multipart/form-data", "image/jpeg", "image/png", "application/octet-stream"}
    assert set(body["multipart/form-data"]["schema"]["properties"]) == {"image", "lesion"}


def test_page_and_its_files_name_no_other_host(client):
    page = client.get("/docs").text
    assert not re.search(r"https?://|style=|<style|<script>", page)
    pytest.importorskip("fastapi_swagger")
    for address in re.findall(r'(?:src|href)="([^"]+)"', page):
        found = client.get(address)
        assert found.status_code == 200 and found.headers["Cache-Control"].startswith("private")
    assert client.get("/docs/../settings.py").status_code == 404 and client.get("/docs/x.js").status_code == 404


def test_description_needs_the_key_where_there_is_one(tmp_path):
    with fake_client(tmp_path, key=KEY) as client:
        assert client.get("/openapi.json").status_code == client.get("/docs").status_code == 401
