"""Routes of the review: findings, their pictures, and decisions."""

import base64
import hmac
import secrets
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import APIRouter, FastAPI, Path, Query, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from app.server.errors import Refusal
from app.server.html.rendering import render
from app.server.review.assistant import Assistant
from app.server.uploads import read_body

router = APIRouter(prefix="/review", include_in_schema=False)
FIELDS = ("token", "kind", "page", "number", "position", "sha256", "decision", "to")
MOST_BYTES = 8_000
FOREIGN = "The form is not from this page, or the service was started again. Load the page again."
Number = Annotated[int, Path(ge=0, le=1_000_000_000)]


def install(application: FastAPI) -> None:
    """Add the routes, and the token that their forms must send."""
    application.state.review = Assistant()
    application.state.review_token = secrets.token_urlsafe(32)
    application.include_router(router)


@router.get("")
async def show(request: Request, kind: str = "", page: Annotated[int, Query(ge=1, le=1_000_000)] = 1) -> Response:
    """A page of findings."""
    found = await _assistant(request).ask("findings", kind=kind, page=page)
    return HTMLResponse(render("review", request.app.state.settings, token=request.app.state.review_token, **found))


@router.get("/pictures/{number}/{position}")
async def picture(request: Request, number: Number, position: Number) -> Response:
    """The picture of a file, by the number of its finding and its position in it."""
    found = await _assistant(request).ask("picture", number=number, position=position)
    if found["problem"]:
        raise Refusal(404, f"There is no picture: {found['problem']}.")
    return Response(base64.b64decode(found["jpeg"]), media_type="image/jpeg")


@router.post("/decisions")
async def decide(request: Request) -> Response:
    """Write a decision, and show the page again."""
    fields = await _fields(request)
    number, position = fields["number"], fields["position"]
    if not hmac.compare_digest(fields["token"].encode(), request.app.state.review_token.encode()):
        raise Refusal(403, FOREIGN)
    if not (number.isdecimal() and position.isdecimal() and fields["page"].isdecimal()):
        raise Refusal(422, "The form is not complete.")
    if fields["decision"] == "relabel" and not fields["to"]:
        raise Refusal(422, "Choose the new diagnosis first.")
    given = {name: fields[name] for name in ("sha256", "decision", "to")}
    await _assistant(request).ask("decide", number=int(number), position=int(position), **given)
    found = await _assistant(request).ask("findings", kind=fields["kind"], page=int(fields["page"]))
    if request.headers.get("x-requested-with") == "page":
        return HTMLResponse(render("review", request.app.state.settings, token=request.app.state.review_token, **found))
    return RedirectResponse(f"/review?kind={found['kind']}&page={found['page']}#file-{int(number)}-{int(position)}", 303)


async def _fields(request: Request) -> dict[str, str]:
    content = await read_body(request, MOST_BYTES, Refusal(413, "The form is too large."))
    try:
        given = dict(parse_qsl(content.decode("ascii"), keep_blank_values=True, max_num_fields=len(FIELDS)))
    except ValueError:
        raise Refusal(400, "The form cannot be read.") from None
    return {name: given.get(name, "") for name in FIELDS}


def _assistant(request: Request) -> Assistant:
    assistant: Assistant = request.app.state.review
    return assistant
