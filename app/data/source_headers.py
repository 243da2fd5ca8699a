"""Reads the headers of images in optional formats before they are imported: broken ones are left out, and DICOM describes patients."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

import pandas as pd

from app.data.archives import Source, archive_errors
from app.data.conversion import OPTIONAL, open_heic
from app.data.dicom import read_header
from app.data.members import parts_of
from app.data.metadata import JoinedTables
from components.core.errors import LesionflowError, UnreadableImageError


@dataclass
class SourceHeaders:
    """What the headers of a source's images in optional formats tell."""

    jpegs: set[str] = field(default_factory=set)
    """DICOM files that hold a JPEG."""
    known: dict[str, dict[str, str]] = field(default_factory=dict)
    """Columns of metadata.csv by image."""
    left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Files that cannot be read, by reason."""


def read_source_headers(opened: Source, images: Iterable[str], sizes: Mapping[str, int]) -> SourceHeaders:
    """Read the headers of the images in optional formats.

    Raises:
        LesionflowError: a DICOM file has several frames, or a person's data burned into its image.
    """
    found = SourceHeaders()
    optional = [name for name in images if _format(name) is not None]
    for name, stream in opened.contents(optional) if optional else ():
        with archive_errors(opened.path, name):
            content = stream.read(sizes[name] + 1)
        image_format = _format(name)
        try:
            if image_format == "DICOM":
                header = read_header(content)
                found.known[name] = header.known
                if header.holds_jpeg:
                    found.jpegs.add(name)
            else:
                open_heic(content)
        except UnreadableImageError:
            found.left_out[f"{image_format} images that cannot be read (export them as PNG or JPEG and import again)"].append(name)
        except LesionflowError as fault:
            raise LesionflowError(f"{opened.path}: {name!r} {fault}; nothing was imported") from None
    return found


def fill_gaps(joined: JoinedTables, known: Mapping[str, Mapping[str, str]]) -> JoinedTables:
    """The joined tables with the values of headers where no table gives one."""
    rows = {name: values for name, values in known.items() if values}
    if not rows:
        return joined
    given = pd.DataFrame.from_dict(rows, orient="index", dtype="str")
    there = set(joined.rows.index)
    filled = joined.rows.reindex([*joined.rows.index, *(name for name in given.index if name not in there)])
    for column in given:
        values = given[column].reindex(filled.index)
        filled[column] = filled[column].fillna(values) if column in filled else values
    return replace(joined, rows=filled)


def _format(name: str) -> str | None:
    return OPTIONAL.get(PurePosixPath(parts_of(name)[-1]).suffix.lower())
