"""The form in which people give the key once."""

from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from app.server.doors.access import Access
from app.server.errors import Refusal

router = APIRouter(include_in_schema=False)
MOST_BYTES = 4096
FORM = "application/x-www-form-urlencoded"
WRONG = "The key is wrong."


@router.get("/sign-in")
async def show(request: Request) -> Response:
    """Show the form."""
    return HTMLResponse(_page("")) if access_of(request).is_needed else RedirectResponse("/", 303)


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    """Begin a session if the key is right."""
    access = access_of(request)
    if not access.is_needed:
        return RedirectResponse("/", 303)
    if access.is_key(await _key(request)):
        return RedirectResponse("/", 303, headers=access.begin())
    refusal = await access.refuse(request.scope, WRONG)
    return HTMLResponse(_page(str(refusal)), refusal.status, refusal.headers)


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
    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > MOST_BYTES:
            raise Refusal(413, f"The form is larger than {MOST_BYTES:,} bytes.")
    try:
        return parse_qs(content.decode("ascii"), max_num_fields=4).get("key", [""])[0].strip().encode()
    except ValueError:
        raise Refusal(400, "The form cannot be read.") from None


def _page(problem: str) -> str:
    alert = f'<p role="alert">{problem}</p>' if problem else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Lesionflow: key</title></head><body><main>'
        f'<h1>Lesionflow</h1>{alert}<form method="post" action="/sign-in"><label for="key">Key of this service</label> '
        '<input id="key" name="key" type="password" autocomplete="current-password" required autofocus> '
        "<button>Sign in</button></form></main></body></html>"
    )
