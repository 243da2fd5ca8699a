"""Reads the images and fields of a request as they arrive, in memory and within limits."""

from collections.abc import Collection

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from app.server.errors import Refusal
from app.server.form_parts import FormParts, Upload, too_large
from app.server.settings import Settings

FORM = b"multipart/form-data"
RAW_TYPES = ("", "application/octet-stream")
HOW_TO_SEND = "Send one image as its bytes, with Content-Type image/jpeg or image/png, or several as multipart/form-data."


async def read_upload(request: Request, fields: Collection[str] = ()) -> Upload:
    """Read a request: multipart/form-data with `image` fields, or the bytes of one image.

    Args:
        request: its body is not yet read.
        fields: names of other fields that the route knows.

    Raises:
        Refusal: the body is neither, is too large or incomplete, or has unknown fields.
    """
    settings: Settings = request.app.state.settings
    kind, _ = parse_options_header(request.headers.get("content-type", ""))
    if kind == FORM:
        upload = await read_form(request, fields)
    elif kind.decode("latin-1") in RAW_TYPES or kind.startswith(b"image/"):
        upload = Upload([await read_body(request, settings.max_image_bytes, too_large(settings))])
    else:
        raise Refusal(415, HOW_TO_SEND)
    return upload


async def read_images(request: Request, fields: Collection[str] = ()) -> Upload:
    """Read a request that has one or more images, as `read_upload`."""
    upload = await read_upload(request, fields)
    if not upload.images:
        raise Refusal(422, "The request has no image. Send the field `image`, or the bytes of an image.")
    return upload


async def read_body(request: Request, most: int, refusal: Refusal) -> bytes:
    """The body of a request. `refusal` is raised as soon as it has more than `most` bytes."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > most:
            raise refusal
    return bytes(content)


async def read_form(request: Request, fields: Collection[str]) -> Upload:
    """Read multipart/form-data with `image` fields, or with none.

    Raises:
        Refusal: as `read_upload`.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != FORM:
        raise Refusal(415, "The form must be sent as multipart/form-data.")
    boundary, parts = options.get(b"boundary", b""), FormParts(request.app.state.settings, fields)
    if not boundary:
        raise Refusal(400, "The Content-Type of the form has no boundary.")
    try:
        parser = parts.parser(boundary)
        async for chunk in request.stream():
            parser.write(chunk)
    except FormParserError:
        raise Refusal(400, "The form is not valid multipart/form-data.") from None
    if not parts.complete:
        raise Refusal(400, "The form ends before its last boundary.")
    return parts.upload
