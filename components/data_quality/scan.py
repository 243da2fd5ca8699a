"""Each file of a dataset looked at once: decoded, hashed, made a thumbnail, measured.

Files are read on every core in small blocks, so memory does not grow with their size. What a file's bytes gave is kept under
their hash: a file that was scanned before, under whatever name, is read but not decoded again.
"""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from components.core.errors import UnreadableImage
from components.core.files import replacing
from components.data_quality.near_duplicates import SIDE, Thumbnails
from components.imaging import images
from components.imaging.images import Pixels

BLOCK = 256
SAMPLE = 16
"""Side of the grid of single pixels from which flat colour is told."""
DARK = 32
"""Grey level below which a pixel belongs to the dark corners of a dermoscope's round view."""

FIELDS = {
    "sha256": "of the file's bytes",
    "fault": "why the file is no image, empty where it is one",
    "format": "JPEG or PNG, null where unreadable",
    "mode": "Pillow's colour mode before conversion to RGB",
    "orientation": "EXIF orientation, 1 where upright",
    "width": "pixels, upright",
    "height": "pixels, upright",
    "pixels_sha256": "of the decoded RGB pixels",
    "thumbnail": "grey, SIDE x SIDE bytes",
    "contrast": "standard deviation of the thumbnail, in grey levels",
    "one_colour": "share of pixels that have exactly the commonest colour, dark ones apart",
    "colourfulness": "mean difference of a pixel's largest and smallest channel, in levels",
}


Look = tuple[Any, ...]


@dataclass(frozen=True)
class Scans:
    """`table`: a row per file in the order given, with `path`, `bytes` and FIELDS but for the thumbnail. `thumbnails`: uint8, shape
    (files, SIDE, SIDE), zeros where unreadable. `decoded`: how many files had not been seen before."""

    table: pd.DataFrame
    thumbnails: Thumbnails
    decoded: int


def table_of(looks: Sequence[Look]) -> pd.DataFrame:
    """A row of FIELDS for each file that was looked at, in the order given."""
    thumbnails = np.frombuffer(b"".join(look[-2] for look in looks), dtype=np.uint8).reshape(-1, SIDE * SIDE)
    samples = np.frombuffer(b"".join(look[-1] for look in looks), dtype=np.uint8).reshape(-1, SAMPLE * SAMPLE, 3)
    table = pd.DataFrame([look[:-1] for look in looks], columns=list(FIELDS)[:9])
    red, green, blue = samples.transpose(2, 0, 1)  # quicker, one by one, than a reduction over three
    largest, smallest = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    table["contrast"] = thumbnails.astype(np.float32).std(axis=1)
    table["one_colour"] = _one_colour(samples, largest)
    table["colourfulness"] = (largest - smallest).mean(axis=1)
    return table


def look(content: bytes, digest: str) -> Look:
    """What one file's bytes tell: FIELDS as far as the thumbnail, and a grid of single pixels."""
    try:
        image, header = images.decode_with_header(content)
    except UnreadableImage as fault:
        return (digest, str(fault), None, None, 1, 0, 0, "", bytes(SIDE * SIDE), bytes(SAMPLE * SAMPLE * 3))
    sample = image.resize((SAMPLE, SAMPLE), Image.Resampling.NEAREST).tobytes()
    return (digest, "", header.format, header.mode, header.orientation, *image.size, images.pixels_sha256(image), thumbnail(image), sample)


def thumbnail(image: Image.Image) -> bytes:
    """The image's green channel, which carries most of its contrast, squeezed to SIDE x SIDE bytes."""
    return image.getchannel("G").resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=1.0).tobytes()


def _one_colour(samples: Pixels, largest: Pixels) -> NDArray[np.float64]:
    """Share of the commonest colour of each image; the dark corners of a round view are one colour too, and are not counted."""
    red, green, blue = samples.astype(np.int32).transpose(2, 0, 1)
    packed = red << 16 | green << 8 | blue
    packed[largest <= DARK] = -1
    packed.sort(axis=1)
    place = np.arange(packed.shape[1])
    fresh = np.diff(packed, axis=1, prepend=-2) != 0
    run = place - np.maximum.accumulate(np.where(fresh, place, 0), axis=1) + 1
    longest = np.where(packed >= 0, run, 0).max(axis=1, initial=0)
    return np.where(longest, longest / packed.shape[1], 1.0)


def _scan_block(root: Path, known: frozenset[str], names: Sequence[str]) -> tuple[list[int], list[str], pd.DataFrame]:
    """The files' sizes and hashes, and a row for each content that is not known."""
    sizes, digests, looks = [], [], []
    for name in names:
        content = (root / name).read_bytes()
        sizes.append(len(content))
        digests.append(hashlib.sha256(content).hexdigest())
        if digests[-1] not in known:
            looks.append(look(content, digests[-1]))
    return sizes, digests, table_of(looks)


def scan(root: Path, names: Sequence[str], cache: Path) -> Scans:
    """Scan files on every core.

    Args:
        root: folder of the dataset.
        names: paths relative to it.
        cache: folder for what earlier scans gave, by content; entries of another version of this code or of Pillow are not used.
    """
    kept = cache / f"{_version()}.parquet"
    tables = [pd.read_parquet(kept) if kept.exists() else table_of([])]
    known = frozenset(tables[0]["sha256"])
    blocks = [names[start : start + BLOCK] for start in range(0, len(names), BLOCK)]
    sizes: list[int] = []
    digests: list[str] = []
    with (
        ProcessPoolExecutor(max_workers=os.cpu_count()) as pool,
        tqdm(total=len(names), desc="scanning", unit="file", mininterval=1) as bar,
    ):
        for some_sizes, some_digests, fresh in pool.map(partial(_scan_block, root, known), blocks):
            sizes += some_sizes
            digests += some_digests
            tables.append(fresh)
            bar.update(len(some_sizes))
    table = pd.concat([some for some in tables if len(some)] or tables[:1]).drop_duplicates("sha256")
    decoded = len(table) - len(known)
    if decoded:
        with replacing(kept) as draft:
            table.to_parquet(draft, index=False)
        for stale in set(cache.glob("*.parquet")) - {kept}:
            stale.unlink()
    found = table.set_index("sha256").loc[digests].reset_index()
    thumbnails = np.frombuffer(b"".join(found["thumbnail"]), dtype=np.uint8).reshape(-1, SIDE, SIDE)
    return Scans(found.drop(columns="thumbnail").assign(path=list(names), bytes=sizes), thumbnails, decoded)


def _version() -> str:
    """Of what decides a row: this code, the decoder's, and Pillow."""
    parts = [Path(__file__).read_bytes(), Path(images.__file__).read_bytes(), PIL.__version__.encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
