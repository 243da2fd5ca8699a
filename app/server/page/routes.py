"""Routes for people: the form, the answer and the model card."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from app.server.engine import Engine, Loaded
from app.server.page import form, lesion
from app.server.page.card import sections
from app.server.page.facts import Facts, read_facts
from app.server.page.form import CONFIDENCES, Submission
from app.server.page.lesion import Computed
from app.server.page.rendering import STATIC, error_page, render
from app.server.page.view import Asked, view
from app.server.settings import Settings
from components.core.errors import LesionflowError

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
VERSION_HEADER = "X-Lesionflow-Version"
NOT_LOADED = "No model version is loaded yet. Try again in a moment."


def install(application: FastAPI) -> None:
    """Add the routes and the files that they load."""
    application.include_router(router)
    application.mount("/static", StaticFiles(directory=STATIC), name="static")


@router.get("/")
async def ask(request: Request) -> HTMLResponse:
    """The form."""
    loaded = _engine(request).loaded
    return _not_loaded(request) if loaded is None else await _form(request, loaded)


@router.post("/")
async def answer(request: Request) -> HTMLResponse:
    """The answer about one lesion; the form again where something is missing."""
    loaded = _engine(request).loaded
    if loaded is None:
        return _not_loaded(request)
    settings: Settings = request.app.state.settings
    sent = await request.form(max_files=settings.max_images, max_part_size=settings.max_image_bytes)
    fields = {name: value for name, value in sent.multi_items() if isinstance(value, str)}
    contents = [await value.read() for _, value in sent.multi_items() if not isinstance(value, str)]
    try:
        submission = form.read(fields, contents, loaded.contract.outputs, settings.ask_first)
    except LesionflowError as fault:
        return await _form(request, loaded, str(fault), fields)
    if not submission.suitable:
        return await _page(request, loaded, "unsuitable")
    return await _answer(request, submission)


@router.get("/about")
async def about(request: Request) -> HTMLResponse:
    """The model card of the loaded version."""
    loaded = _engine(request).loaded
    if loaded is None:
        return _not_loaded(request)
    facts = await _facts(loaded)
    return await _page(request, loaded, "about", card=facts.card, sections=sections(facts.card) if facts.card else {})


async def _answer(request: Request, submission: Submission) -> HTMLResponse:
    loaded, facts, computed = await _compute(_engine(request), submission.contents)
    if computed.answer is None:
        reasons = "; ".join(f"picture {number}: {reason}" for number, reason in computed.unreadable.items())
        sentence = f"The picture could not be read: {reasons}." if len(computed.unreadable) > 1 else _only(computed)
        return await _form(request, loaded, sentence, {}, 422)
    shown = view(computed, loaded.contract, facts, Asked(loaded.found.number, submission.opened, submission.impression))
    return await _page(request, loaded, "result", found=shown)


def _only(computed: Computed) -> str:
    return f"The picture could not be read: {next(iter(computed.unreadable.values()))}."


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
    text = render(name, request.app.state.settings, model=loaded.found.model, version=loaded.found.number, facts=facts, **values)
    return HTMLResponse(text, status, headers={VERSION_HEADER: loaded.found.number})


def _not_loaded(request: Request) -> HTMLResponse:
    return HTMLResponse(error_page(request.app.state.settings, 503, NOT_LOADED), 503, headers={"Retry-After": "2"})


def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


async def _facts(loaded: Loaded) -> Facts:
    return await asyncio.to_thread(read_facts, loaded.found.folder)
