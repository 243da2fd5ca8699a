"""Answers of a registered version about files, one after another."""

import threading
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from app.models.image_files import FoundFile, read_file
from app.models.prediction_rows import Row, RowForm, name_of
from components.core.errors import LesionflowError, UnreadableImageError
from components.runtime.parallel import CORES, stream_map
from components.serving.answers import Answer

THREADS = min(CORES, 8)
"""Images that are predicted at once; each thread has a predictor of its own."""
MOST_PICTURES = 50
"""Pictures of one lesion. More are a mistake, as a folder of many lesions."""


class Predictor(Protocol):
    """What a loaded version offers. Not for several threads at once."""

    def predict(self, content: bytes) -> Answer:
        """Answer about an image, given as bytes."""

    def predict_lesion(self, contents: Sequence[bytes]) -> Answer:
        """Answer about a lesion from several images of it."""


class Version(Protocol):
    """A registered version, loaded.

    Attributes:
        rows: its name, and the form of its rows.
        threads: number of predictors that may work at once.
    """

    rows: RowForm
    threads: int

    def predictor(self) -> Predictor:
        """A new predictor."""


@dataclass(frozen=True)
class Pictures:
    """The pictures of one lesion that could be read, and why the others could not."""

    contents: dict[Path, bytes]
    unreadable: dict[Path, str]


def answer_files(version: Version, files: Iterable[FoundFile], max_mb: int) -> Generator[Row, None, None]:
    """Yield a row per file, in order. Few files are in memory at once; each is read and decoded once."""
    own = threading.local()

    def answered(file: FoundFile) -> list[Row]:
        image = name_of(file.path)
        try:
            if file.problem:
                raise UnreadableImageError(file.problem)
            content = read_file(file.path, max_mb)
            if not hasattr(own, "predictor"):
                own.predictor = version.predictor()
            return [Row(image, own.predictor.predict(content))]
        except UnreadableImageError as fault:
            return [Row(image, error=str(fault))]

    pool = ThreadPoolExecutor(version.threads)
    try:
        yield from stream_map(pool, answered, files)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def read_pictures(files: Iterable[FoundFile], max_mb: int) -> Pictures:
    """Read the pictures of one lesion.

    Raises:
        LesionflowError: there are fewer than two or more than MOST_PICTURES, or two are the same.
    """
    found, same = Pictures({}, {}), dict[bytes, Path]()
    for number, file in enumerate(files, start=1):
        if number > MOST_PICTURES:
            raise LesionflowError(f"--lesion: more than {MOST_PICTURES} pictures. Name the pictures of one lesion")
        try:
            if file.problem:
                raise UnreadableImageError(file.problem)
            content = read_file(file.path, max_mb)
        except UnreadableImageError as fault:
            found.unreadable[file.path] = str(fault)
            continue
        if content in same:
            raise LesionflowError(f"--lesion: {file.path} and {same[content]} are the same picture. Name each picture once")
        same[content] = file.path
        found.contents[file.path] = content
    if len(found.contents) + len(found.unreadable) < 2:
        raise LesionflowError("--lesion needs two or more pictures of one lesion")
    return found


def answer_lesion(version: Version, pictures: Pictures) -> list[Row]:
    """The row of a lesion, answered from all pictures that could be read, after a row for each that could not."""
    contents = {name_of(path): content for path, content in pictures.contents.items()}
    return answer_pictures(version.predictor(), contents, {name_of(path): reason for path, reason in pictures.unreadable.items()})


def answer_pictures(predictor: Predictor, contents: Mapping[str, bytes], unreadable: Mapping[str, str]) -> list[Row]:
    """The row of a lesion, as `answer_lesion`.

    Args:
        predictor: that answers.
        contents: the bytes of each picture, by its name.
        unreadable: why other pictures could not be read.
    """
    readable, reasons = dict(contents), dict(unreadable)
    try:
        found = predictor.predict_lesion(list(readable.values())) if readable else None
    except UnreadableImageError:
        faults = _faults(predictor, readable)
        reasons |= faults
        readable = {name: content for name, content in readable.items() if name not in faults}
        found = predictor.predict_lesion(list(readable.values())) if readable else None
    unread = [Row(name, error=reason) for name, reason in reasons.items()]
    return unread if found is None else [*unread, Row(", ".join(readable), found)]


def _faults(predictor: Predictor, contents: Mapping[str, bytes]) -> dict[str, str]:
    """Why pictures cannot be read, for those that cannot."""
    found = {}
    for name, content in contents.items():
        try:
            predictor.predict(content)
        except UnreadableImageError as fault:
            found[name] = str(fault)
    return found
