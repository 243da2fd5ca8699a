"""Routes for people: the form, the answer and the model card."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from app.server.doors.trace import VERSION
from app.server.engine import Engine, Loaded
from app.server.html.rendering import STATIC, render
from app.server.page import form, lesion
from app.server.page.card import sections
from app.server.page.facts import Facts, read_facts
from app.server.page.form import CONFIDENCES, Submission
from app.server.page.lesion import Computed
from app.server.page.view import Asked, unreadable, view
from app.server.settings import Settings
from app.server.state import engine_of, loaded_of
from app.server.uploads import read_form
from components.core.errors import LesionflowError

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


def install(application: FastAPI) -> None:
    """Add the routes and the files that they load."""
    application.include_router(router)
    application.mount("/static", StaticFiles(directory=STATIC), name="static")


@router.get("/")
async def ask(request: Request) -> HTMLResponse:
    """The form."""
    return await _form(request, loaded_of(request))


@router.post("/")
async def answer(request: Request) -> HTMLResponse:
    """The answer about one lesion; the form again where something is missing."""
    loaded = loaded_of(request)
    settings: Settings = request.app.state.settings
    upload = await read_form(request, form.FIELDS)
    try:
        submission = form.read(upload.fields, upload.images, loaded.contract.outputs, settings.ask_first)
    except LesionflowError as fault:
        return await _form(request, loaded, str(fault), upload.fields)
    if not submission.suitable:
        return await _page(request, loaded, "unsuitable")
    return await _answer(request, submission)


@router.get("/about")
async def about(request: Request) -> HTMLResponse:
    """The model card of the loaded version."""
    loaded = loaded_of(request)
    facts = await _facts(loaded)
    return await _page(request, loaded, "about", card=facts.card, sections=sections(facts.card) if facts.card else {})


async def _answer(request: Request, submission: Submission) -> HTMLResponse:
    loaded, facts, computed = await _compute(engine_of(request), submission.contents)
    if computed.answer is None:
        return await _form(request, loaded, "Nothing was computed. " + " ".join(unreadable(computed)), {}, 422)
    shown = view(computed, loaded.contract, facts, Asked(loaded.found.number, submission.opened, submission.impression))
    return await _page(request, loaded, "result", found=shown)


async def _compute(engine: Engine, contents: Sequence[bytes]) -> tuple[Loaded, Facts, Computed]:
    """Compute with one version and its own facts: again if another version took its place in between."""
    while True:
        expected = engine.loaded
        facts = await _facts(expected) if expected else Facts(image_size=1)
        loaded, computed = await engine.run(partial(lesion.compute, contents=contents, facts=facts))
        if loaded is expected:
            return loaded, facts, computed


async def _form(
    request: Request, loaded: Loaded, sentence: str = "", fields: Mapping[str, str] | None = None, status: int = 400
) -> HTMLResponse:
    settings: Settings = request.app.state.settings
    values = {
        "sentence": sentence,
        "fields": {name: (fields or {}).get(name, "") for name in form.FIELDS},
        "outputs": sorted(loaded.contract.outputs),
        "confidences": CONFIDENCES,
        "ask_first": settings.ask_first,
        "max_images": settings.max_images,
        "max_image_bytes": settings.max_image_bytes,
    }
    return await _page(request, loaded, "ask", status=status if sentence else 200, **values)


async def _page(request: Request, loaded: Loaded, name: str, status: int = 200, **values: Any) -> HTMLResponse:
    facts = await _facts(loaded)
    text = render(name, request.app.state.settings, found_version=loaded.found, facts=facts, **values)
    return HTMLResponse(text, status, headers={VERSION: loaded.found.number})


async def _facts(loaded: Loaded) -> Facts:
    return await asyncio.to_thread(read_facts, loaded.found.folder)
