"""The form in which people give the key once."""

from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from app.server.doors.access import Access
from app.server.errors import Refusal
from app.server.html.rendering import sign_in_page
from app.server.uploads import read_body

router = APIRouter(include_in_schema=False)
MOST_BYTES = 4096
FORM = "application/x-www-form-urlencoded"
WRONG = "The key is wrong."


@router.get("/sign-in")
async def show(request: Request) -> Response:
    """Show the form."""
    return HTMLResponse(sign_in_page(request.app.state.settings)) if access_of(request).is_needed else RedirectResponse("/", 303)


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    """Begin a session if the key is right."""
    access = access_of(request)
    if not access.is_needed:
        return RedirectResponse("/", 303)
    if access.is_key(await _key(request)):
        return RedirectResponse("/", 303, headers=access.begin())
    refusal = await access.refuse(request.scope, WRONG)
    return HTMLResponse(sign_in_page(request.app.state.settings, str(refusal)), refusal.status, refusal.headers)


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """End the session."""
    return RedirectResponse("/sign-in", 303, headers=access_of(request).end(request.headers))


def access_of(request: Request) -> Access:
    """Who may use the service."""
    access: Access = request.app.state.access
    return access


async def _key(request: Request) -> bytes:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise Refusal(415, f"The form must be sent as {FORM}.")
    content = await read_body(request, MOST_BYTES, Refusal(413, f"The form is larger than {MOST_BYTES:,} bytes."))
    try:
        return parse_qs(content.decode("ascii"), max_num_fields=4).get("key", [""])[0].strip().encode()
    except ValueError:
        raise Refusal(400, "The form cannot be read.") from None
