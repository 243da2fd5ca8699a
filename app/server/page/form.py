"""The form of the page: what a person sent, checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.core.errors import LesionflowError

CONFIDENCES = ("unsure", "fairly sure", "sure")
"""How sure the reader is of the own impression."""
YES, NO = "yes", "no"
FIELDS = ("version", "suitable", "diagnosis", "confidence")
"""Fields of the form besides the pictures."""


@dataclass(frozen=True)
class Impression:
    """The reader's own diagnosis, and how sure the reader is: one of CONFIDENCES."""

    diagnosis: str
    confidence: str


@dataclass(frozen=True)
class Submission:
    """What a person asks.

    Attributes:
        contents: the bytes of each picture of the lesion.
        suitable: whether they are of the kind that the version is made for.
        impression: the reader's own; None if it is not asked for.
        opened: version that the page showed when it was opened.
    """

    contents: tuple[bytes, ...]
    suitable: bool
    impression: Impression | None
    opened: str


def read(fields: Mapping[str, str], contents: Sequence[bytes], outputs: Sequence[str], ask_first: bool) -> Submission:
    """Check what was sent.

    Args:
        fields: of the form, by name.
        contents: the bytes of each file; empty ones, which browsers send for an empty file field, are passed over.
        outputs: diagnoses that the reader may choose.
        ask_first: whether the reader's own impression is needed.

    Raises:
        LesionflowError: something is missing; the message is for the reader.
    """
    given = tuple(content for content in contents if content)
    kind = fields.get("suitable", "")
    if kind not in (YES, NO):
        raise LesionflowError("Say first what kind of picture it is.")
    if kind == YES and not given:
        raise LesionflowError("Add a picture of the lesion: a JPEG or PNG file.")
    if len(set(given)) < len(given):
        raise LesionflowError("The same picture is there twice. Add each picture once, or the spread between pictures means nothing.")
    impression = _impression(fields, outputs) if ask_first and kind == YES else None
    return Submission(given, kind == YES, impression, fields.get("version", "") if fields.get("version", "").isdigit() else "")


def _impression(fields: Mapping[str, str], outputs: Sequence[str]) -> Impression:
    found = Impression(fields.get("diagnosis", ""), fields.get("confidence", ""))
    if found.diagnosis not in outputs or found.confidence not in CONFIDENCES:
        raise LesionflowError("Give your own impression first: the diagnosis, and how sure you are.")
    return found
