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
    readable: dict[int, tuple[bytes, Image.Image]] = {}
    unreadable: dict[int, str] = {}
    for number, content in enumerate(contents, start=1):
        try:
            readable[number] = content, images.decode(content)
        except UnreadableImageError as fault:
            unreadable[number] = str(fault)
    if not readable:
        return Computed(None, (), unreadable, {})
    answer = predictor.predict_lesion([content for content, _ in readable.values()])
    shown = tuple(_picture(predictor, number, *pair, answer, facts) for number, pair in readable.items())
    return Computed(answer, shown, unreadable, _thumbnails(predictor, answer))


def _picture(predictor: ServedPredictor, number: int, content: bytes, image: Image.Image, answer: Answer, facts: Facts) -> Picture:
    return Picture(
        number=number,
        sent=pictures.upright(image),
        seen=pictures.as_seen(content, facts.image_size, facts.resolution),
        overlay=None if answer.abstained else overlay(predictor.predictor.activation_map(content, answer.diagnosis)),
        width=image.width,
        height=image.height,
    )


def _thumbnails(predictor: ServedPredictor, answer: Answer) -> dict[int, str]:
    """Empty where the version abstains: similar cases would tell the ranking that it withholds."""
    if answer.abstained:
        return {}
    numbers = [case.thumbnail for case in answer.similar if case.thumbnail is not None]
    return {number: pictures.data_url(predictor.predictor.thumbnail(number)) for number in numbers}
