"""Collects the parts of a multipart form as a streaming parser meets them."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.multipart import MultipartParser, parse_options_header

from app.server.errors import Refusal
from app.server.settings import Settings

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

IMAGE = "image"
"""Name of the fields that hold images."""
EMPTY_CHOICES = 2
"""Parts that a browser may send for file fields in which nothing is chosen."""
FIELD_BYTES = 4000
"""Of a field that is not an image."""


@dataclass
class Upload:
    """What a request brings: the bytes of its images in order, and other fields by name. File names are not kept."""

    images: list[bytes] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)


class FormParts:
    """The parts of one form.

    Args:
        settings: with the limits.
        fields: names of the fields other than images.

    Attributes:
        upload: what has arrived.
        complete: whether the last boundary has.
    """

    def __init__(self, settings: Settings, fields: Collection[str]) -> None:
        self._settings, self._fields = settings, fields
        self._parts = 0
        self._header, self._value, self._disposition = bytearray(), bytearray(), b""
        self._name, self._is_empty_choice, self._content = "", False, bytearray()
        self.upload, self.complete = Upload(), False

    def parser(self, boundary: bytes) -> MultipartParser:
        """A parser that hands its parts to this; its callbacks raise Refusal."""
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._open,
            "on_part_data": self._add,
            "on_part_end": self._end,
            "on_end": self._finish,
        }
        return MultipartParser(boundary, callbacks)

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > self._settings.max_images + len(self._fields) + EMPTY_CHOICES:
            raise Refusal(413, f"The form has too many parts. Send at most {self._settings.max_images} images.")
        self._disposition, self._content = b"", bytearray()

    def _end_header(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header, self._value = bytearray(), bytearray()

    def _open(self) -> None:
        kind, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode("latin-1")
        if kind != b"form-data" or (name != IMAGE and name not in self._fields):
            raise Refusal(422, f"The form has a field of another name than {', '.join((IMAGE, *self._fields))}.")
        if name in self.upload.fields:
            raise Refusal(422, f"The form has the field {name} twice.")
        self._name, self._is_empty_choice = name, options.get(b"filename") == b""
        if name == IMAGE and not self._is_empty_choice:
            self._require_room()

    def _add(self, data: bytes, start: int, end: int) -> None:
        self._content += memoryview(data)[start:end]
        if self._name == IMAGE and len(self._content) > self._settings.max_image_bytes:
            raise too_large(self._settings)
        if self._name != IMAGE and len(self._content) > FIELD_BYTES:
            raise Refusal(413, f"The field {self._name} is larger than {FIELD_BYTES:,} bytes.")

    def _end(self) -> None:
        if self._name == IMAGE:
            if self._content or not self._is_empty_choice:  # browsers send an empty part where no file is chosen
                self._require_room()
                self.upload.images.append(bytes(self._content))
        else:
            try:
                self.upload.fields[self._name] = self._content.decode()
            except UnicodeDecodeError:
                raise Refusal(422, f"The field {self._name} is not UTF-8.") from None

    def _require_room(self) -> None:
        if len(self.upload.images) == self._settings.max_images:
            raise Refusal(413, f"The form has more than {self._settings.max_images} images.")

    def _finish(self) -> None:
        self.complete = True


def too_large(settings: Settings) -> Refusal:
    """The refusal of an image with too many bytes."""
    return Refusal(413, f"An image is larger than {settings.max_image_bytes:,} bytes.")
