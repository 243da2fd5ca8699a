"""Jobs of the API: the rows and the map that a predictor gives for the images of one request."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.models.predict import answer_pictures
from app.models.prediction_rows import Row, RowForm
from app.server.engine import Loaded
from app.server.errors import Refusal
from app.server.overlay import overlay
from components.core.errors import UnreadableImageError
from components.imaging.headers import FORMATS
from components.serving.answers import Answer
from components.serving.loading import ServedPredictor

Contents = Sequence[bytes]
"""The bytes of each image of a request, which is called by its number from 1."""


def row_form(loaded: Loaded) -> RowForm:
    """The form of the rows of a version."""
    return RowForm(loaded.found.model, loaded.found.number, loaded.contract)


def image_rows(predictor: ServedPredictor, contents: Contents) -> list[Row]:
    """A row for each image.

    Raises:
        Refusal: none of them can be read.
    """
    rows = [_row(predictor, str(number), content) for number, content in enumerate(contents, start=1)]
    _require_answer(rows, contents)
    return rows


def _row(predictor: ServedPredictor, name: str, content: bytes) -> Row:
    try:
        return Row(name, predictor.predict(content))
    except UnreadableImageError as fault:
        return Row(name, error=str(fault))


def lesion_rows(predictor: ServedPredictor, contents: Contents) -> list[Row]:
    """A row for the lesion that all images show, after a row for each that cannot be read.

    Raises:
        Refusal: there are fewer than two images, two are the same, or none can be read.
    """
    if len(contents) < 2:
        raise Refusal(422, "A lesion needs two or more images.")
    if len(set(contents)) < len(contents):
        raise Refusal(422, "Two images are the same. Send each image of the lesion once.")
    rows = answer_pictures(predictor, {str(number): content for number, content in enumerate(contents, start=1)}, {})
    _require_answer(rows, contents)
    return rows


def similar(predictor: ServedPredictor, contents: Contents) -> Answer:
    """The answer about one image, or about one lesion of which there are several.

    Raises:
        Refusal: none of the images can be read.
    """
    rows = image_rows(predictor, contents) if len(contents) == 1 else lesion_rows(predictor, contents)
    found = rows[-1].answer
    assert found is not None  # the last row has an answer where any has
    return found


def explanation(predictor: ServedPredictor, content: bytes, output: str) -> dict[str, Any]:
    """How much each place of an image adds to the logit of an output: as a grid, and as a layer over the image.

    Raises:
        Refusal: the image cannot be read, or the version has no such output or no maps.
    """
    if output not in predictor.contract.outputs:
        raise Refusal(422, f"The field output must be one of {', '.join(predictor.contract.outputs)}.")
    try:
        values: NDArray[np.float64] = predictor.predictor.activation_map(content, output)
    except predictor.unreadable as fault:
        raise _unreadable([Row("1", error=str(fault))], [content]) from None
    return {"grid": values.tolist(), "overlay": overlay(values)}


def _require_answer(rows: Sequence[Row], contents: Contents) -> None:
    if all(row.answer is None for row in rows):
        raise _unreadable(rows, contents)


def _unreadable(rows: Sequence[Row], contents: Contents) -> Refusal:
    """Why no image can be read: 415 if their first bytes are of other types, 422 otherwise."""
    is_other = any(contents) and not any(content.startswith(tuple(FORMATS)) for content in contents)
    status = 415 if is_other else 422
    if len(rows) == 1:
        return Refusal(status, f"The image cannot be read: {rows[0].error}.")
    return Refusal(status, f"No image can be read: {'; '.join(f'image {row.image}: {row.error}' for row in rows)}.")
