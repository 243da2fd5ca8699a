"""Computes all that the page shows about one lesion, in one job of the engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

from app.server.overlay import overlay
from app.server.page import pictures
from app.server.page.facts import Facts
from app.server.page.pictures import Picture
from components.core.errors import UnreadableImageError
from components.imaging import images
from components.serving.answers import Answer
from components.serving.loading import ServedPredictor


@dataclass(frozen=True)
class _Readable:
    number: int
    content: bytes
    image: Image.Image


@dataclass(frozen=True)
class Computed:
    """What was computed.

    Attributes:
        answer: about the readable pictures; None if there are none.
        pictures: the readable ones.
        unreadable: why the others could not be read, by their number from 1.
        thumbnails: pictures of similar cases as URLs, by `SimilarCase.thumbnail`.
    """

    answer: Answer | None
    pictures: tuple[Picture, ...]
    unreadable: Mapping[int, str]
    thumbnails: Mapping[int, str]


def compute(predictor: ServedPredictor, contents: Sequence[bytes], facts: Facts) -> Computed:
    """Answer about one lesion, from one or more pictures of it.

    Args:
        predictor: of the version.
        contents: the bytes of each picture.
        facts: of the same version.
    """
    readable: list[_Readable] = []
    unreadable: dict[int, str] = {}
    for number, content in enumerate(contents, start=1):
        try:
            readable.append(_Readable(number, content, images.decode(content)))
        except UnreadableImageError as fault:
            unreadable[number] = str(fault)
    if not readable:
        return Computed(None, (), unreadable, {})
    answer = predictor.predict_lesion([sent.content for sent in readable])
    shown = tuple(_picture(predictor, sent, answer, facts) for sent in readable)
    return Computed(answer, shown, unreadable, _thumbnails(predictor, answer))


def _picture(predictor: ServedPredictor, sent: _Readable, answer: Answer, facts: Facts) -> Picture:
    return Picture(
        number=sent.number,
        sent=pictures.upright(sent.image),
        seen=pictures.as_seen(sent.content, facts.image_size, facts.resolution),
        overlay=None if answer.abstained else overlay(predictor.predictor.activation_map(sent.content, answer.diagnosis)),
        width=sent.image.width,
        height=sent.image.height,
    )


def _thumbnails(predictor: ServedPredictor, answer: Answer) -> dict[int, str]:
    """Empty where the version abstains: similar cases would tell the ranking that it withholds."""
    if answer.abstained:
        return {}
    numbers = [case.thumbnail for case in answer.similar if case.thumbnail is not None]
    return {number: pictures.data_url(predictor.predictor.thumbnail(number)) for number in numbers}
