"""Pictures for the page, as data: URLs, since nothing of an upload is stored."""

import base64
import io
from dataclasses import dataclass

from PIL import Image

from components.imaging import images

LONGEST = 1200
"""Longest side of the picture as it was sent, in pixels; larger ones are reduced for the page."""


@dataclass(frozen=True)
class Picture:
    """A picture that was sent.

    Attributes:
        number: among those that were sent, from 1.
        sent: the upright picture.
        seen: the square that the model sees, at its resolution.
        overlay: where the score of the named diagnosis comes from; None if the version does not tell or withholds the diagnosis.
        width, height: of the upright picture, in pixels.
    """

    number: int
    sent: str
    seen: str
    overlay: str | None
    width: int
    height: int


def upright(image: Image.Image) -> str:
    """A decoded picture, reduced to what a page needs."""
    shown = image.copy()
    shown.thumbnail((LONGEST, LONGEST))
    return _jpeg(shown, 88)


def as_seen(content: bytes, size: int, resolution: int | None) -> str:
    """The model's input, exactly."""
    return _png(Image.fromarray(images.load_pixels(content, size, resolution)))


def data_url(content: bytes, kind: str = "jpeg") -> str:
    """The bytes of an image as a URL."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _jpeg(image: Image.Image, quality: int) -> str:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return data_url(stream.getvalue())


def _png(image: Image.Image) -> str:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return data_url(stream.getvalue(), "png")
