"""The API's description, and the page that shows it from files of an installed package, without another host."""

from importlib.resources import files
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.responses import HTMLResponse, JSONResponse, Response

from app.server import examples
from app.server.errors import Refusal

router = APIRouter(include_in_schema=False)
PACKAGE, FOLDER = "fastapi_swagger", "resources"
FILES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css", "favicon-32x32.png": "image/png"}
CACHED = {"Cache-Control": "private, max-age=86400"}
START = """window.ui = SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#ui", deepLinking: true, validatorUrl: null, supportedSubmitMethods: ["get", "post"],
  presets: [SwaggerUIBundle.presets.apis], layout: "BaseLayout"
});
"""
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Lesionflow API</title>
<link rel="icon" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
ABOUT = """An API that asks a registered version of a skin-lesion classifier about images. It is research software, not a medical device.

Images are JPEG or PNG, sent as multipart/form-data or as bytes. They are not stored. Each answer names the version that computed it, in
the header `X-Lesionflow-Version`, too. A request that is not answered has one sentence in `error`, and the id of the request.
"""


def describe(application: FastAPI) -> dict[str, Any]:
    """The description of an application's routes as OpenAPI."""
    if application.openapi_schema is None:
        found = get_openapi(title="Lesionflow", version=application.version, description=ABOUT, routes=application.routes)
        found.setdefault("components", {})["securitySchemes"] = {
            "key": {"type": "http", "scheme": "bearer", "description": "the key of a service that has one"}
        }
        for operations in found["paths"].values():
            for operation in operations.values():
                operation["security"] = [{"key": []}, {}]
        for (path, method), example in examples.ANSWERS.items():
            found["paths"][path][method]["responses"]["200"]["content"]["application/json"]["example"] = example
        for path in ("/v1/predict", "/v1/similar"):
            form = found["paths"][path]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
            form["properties"]["image"]["maxItems"] = application.state.settings.max_images
        application.openapi_schema = found
    return application.openapi_schema


@router.get("/openapi.json")
async def schema(request: Request) -> Response:
    """The description."""
    return JSONResponse(describe(request.app))


@router.get("/docs")
async def page() -> Response:
    """The page that shows it."""
    return HTMLResponse(PAGE)


@router.get("/docs/start.js")
async def start() -> Response:
    """The script that starts Swagger UI."""
    return Response(START, media_type="text/javascript", headers=CACHED)


@router.get("/docs/{name}")
async def file(name: str) -> Response:
    """A file of Swagger UI."""
    if name not in FILES:
        raise Refusal(404, "This address does not exist.")
    try:
        content = files(PACKAGE).joinpath(FOLDER, name).read_bytes()
    except ModuleNotFoundError:
        raise Refusal(404, "Swagger UI is not installed here. Run pip install 'lesionflow[serve]'; /openapi.json needs none.") from None
    return Response(content, media_type=FILES[name], headers=CACHED)
