"""Routes for programs, under /v1."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from app.server import answering, description, documented
from app.server.doors.trace import VERSION
from app.server.engine import Loaded
from app.server.errors import Refusal
from app.server.state import engine_of, loaded_of
from app.server.uploads import read_images
from components.core.errors import LesionflowError
from components.serving.answers import SimilarCase
from components.serving.contents import Contents
from components.serving.loading import ARTIFACTS
from components.serving.neighbours import thumbnail_name
from components.serving.predictor import INDEX

router = APIRouter(prefix="/v1", tags=["API"])
TRUTH = {"": False, "false": False, "true": True}
MEANING = "Where the score of this output comes from. It is coarse, and no evidence for a diagnosis."


@router.post("/predict", **documented.PREDICT)
async def predict(request: Request) -> Response:
    """Answer about each image, or with `lesion` about the one lesion that all images show."""
    upload = await read_images(request, ("lesion",))
    lesion = TRUTH.get(upload.fields.get("lesion", ""))
    if lesion is None:
        raise Refusal(422, "The field lesion must be true or false.")
    job = answering.lesion_rows if lesion else answering.image_rows
    loaded, rows = await engine_of(request).run(partial(job, contents=upload.images))
    form = answering.row_form(loaded)
    return answered(loaded, [form.as_object(row) for row in rows])


@router.post("/explain", **documented.EXPLAIN)
async def explain(request: Request, output: Annotated[str | None, Query(description="as the field, for raw bytes")] = None) -> Response:
    """Where the score of an output comes from in one image: a coarse map, and no evidence."""
    upload = await read_images(request, ("output",))
    if len(upload.images) > 1:
        raise Refusal(422, "A map is made of one image. Send one.")
    wanted = upload.fields.get("output", output or "")
    loaded, found = await engine_of(request).run(partial(answering.explanation, content=upload.images[0], output=wanted))
    return answered(loaded, {**named(loaded), "output": wanted, "meaning": MEANING, **found})


@router.post("/similar", **documented.SIMILAR)
async def similar(request: Request) -> Response:
    """The training cases that are nearest to an image, or to several images of one lesion."""
    upload = await read_images(request)
    loaded, found = await engine_of(request).run(partial(answering.similar, contents=upload.images))
    return answered(
        loaded,
        {
            **named(loaded),
            "abstained": list(found.abstained),
            "in_training": found.in_training,
            "neighbour_counts": found.neighbour_counts,
            "similar_cases": [_case(case, loaded.found.number) for case in found.similar],
        },
    )


def _case(case: SimilarCase, version: str) -> dict[str, Any]:
    url = None if case.thumbnail is None else f"/v1/similar/{case.thumbnail}.jpg?version={version}"
    return {**asdict(case), "thumbnail": url}


@router.get("/similar/{number}.jpg", **documented.THUMBNAIL)
async def thumbnail(
    request: Request,
    number: documented.Number,
    version: Annotated[str | None, Query(description="that must answer, since cases have other numbers in another", max_length=20)] = None,
) -> Response:
    """The picture of a similar case."""
    loaded = loaded_of(request)
    if version not in (None, loaded.found.number):
        raise Refusal(404, f"Another version answers now: {loaded.found.number}. Ask for similar cases again.")
    try:
        content = await asyncio.to_thread(_read_thumbnail, loaded.found.folder, number)
    except LesionflowError:
        raise Refusal(404, "The version has no picture of this number.") from None
    return Response(content, media_type="image/jpeg", headers={VERSION: loaded.found.number})


def _read_thumbnail(folder: Path, number: int) -> bytes:
    return _contents(folder / ARTIFACTS).read(f"{INDEX}/{thumbnail_name(number)}")


@lru_cache(maxsize=2)
def _contents(folder: Path) -> Contents:
    return Contents.of_folder(folder)


def answered(loaded: Loaded, content: Any) -> JSONResponse:
    """An answer that names the version which computed it."""
    return JSONResponse(content, headers={VERSION: loaded.found.number})


def named(loaded: Loaded) -> Mapping[str, str]:
    """The model and the version of an answer."""
    return {"model": loaded.found.model, "version": loaded.found.number}


@router.get("/model", **documented.MODEL)
async def model(request: Request) -> Response:
    """The version that answers now: its outputs, operating points and origin."""
    loaded = loaded_of(request)
    return answered(loaded, await asyncio.to_thread(description.describe, loaded))


@router.get("/card", **documented.CARD)
async def card(request: Request) -> Response:
    """The model card of the version that answers now, as Markdown."""
    loaded = loaded_of(request)
    text = await asyncio.to_thread(description.card_text, loaded.found.folder)
    if text is None:
        raise Refusal(404, "The version was registered without a model card.")
    return Response(text, media_type="text/markdown", headers={VERSION: loaded.found.number})
