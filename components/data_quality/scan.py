"""Scans each file of a dataset once: decode, hash, thumbnail, image statistics.

Files are read on all cores in small blocks, so memory does not grow with the dataset. Results are cached by content hash: a file that
was scanned before, under any name, is read but not decoded again.
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
from tqdm import tqdm

from components.core.errors import UnreadableImageError
from components.core.files import atomic_write
from components.data_quality.near_duplicates import Thumbnails
from components.imaging import appearance, headers, images
from components.imaging.appearance import COLOR_GRID_SIZE, THUMBNAIL_SIZE

BLOCK_SIZE = 256

FIELDS = {
    "sha256": "hash of the file's bytes",
    "fault": "why the file is not an image; empty if it is one",
    "format": "JPEG or PNG; null if unreadable",
    "mode": "Pillow's color mode before conversion to RGB",
    "orientation": "EXIF orientation; 1 means upright",
    "width": "pixels, upright",
    "height": "pixels, upright",
    "pixels_sha256": "hash of the decoded RGB pixels",
    "thumbnail": "gray, THUMBNAIL_SIZE x THUMBNAIL_SIZE bytes",
    "contrast": "standard deviation of the thumbnail, in gray levels",
    "one_colour": "share of pixels that have exactly the most frequent color, without dark pixels",
    "colourfulness": "mean difference of a pixel's largest and smallest channel, in levels",
}


ScanRow = tuple[Any, ...]


@dataclass(frozen=True)
class ScanResult:
    """`table`: one row per file in the given order, with `path`, `bytes` and FIELDS without the thumbnail. `thumbnails`: uint8, shape
    (files, THUMBNAIL_SIZE, THUMBNAIL_SIZE), zeros if unreadable. `decoded`: number of contents that were not in the cache."""

    table: pd.DataFrame
    thumbnails: Thumbnails
    decoded: int


def table_of(scanned: Sequence[ScanRow]) -> pd.DataFrame:
    """One row of FIELDS for each scanned file, in the given order."""
    thumbnails = np.frombuffer(b"".join(row[-2] for row in scanned), dtype=np.uint8).reshape(-1, THUMBNAIL_SIZE * THUMBNAIL_SIZE)
    samples = np.frombuffer(b"".join(row[-1] for row in scanned), dtype=np.uint8).reshape(-1, COLOR_GRID_SIZE * COLOR_GRID_SIZE, 3)
    table = pd.DataFrame([row[:-1] for row in scanned], columns=list(FIELDS)[:9])
    table["contrast"] = appearance.contrast(thumbnails)
    table["one_colour"], table["colourfulness"] = appearance.color_measures(samples)
    return table


def scan_file(content: bytes, digest: str) -> ScanRow:
    """Scan one file's bytes: FIELDS up to the thumbnail, and a grid of single pixels."""
    try:
        image, header = images.decode_with_header(content)
    except UnreadableImageError as fault:
        no_thumbnail, no_sample = bytes(THUMBNAIL_SIZE**2), bytes(COLOR_GRID_SIZE**2 * 3)
        return (digest, str(fault), None, None, 1, 0, 0, "", no_thumbnail, no_sample)
    looks = (appearance.thumbnail(image), appearance.color_grid(image))
    return (digest, "", header.format, header.mode, header.orientation, *image.size, images.pixels_sha256(image), *looks)


def _scan_block(root: Path, known: frozenset[str], names: Sequence[str]) -> tuple[list[int], list[str], pd.DataFrame]:
    """Return the files' sizes and hashes, and one row for each content that is not cached."""
    sizes, digests, scanned = [], [], []
    for name in names:
        content = (root / name).read_bytes()
        sizes.append(len(content))
        digests.append(hashlib.sha256(content).hexdigest())
        if digests[-1] not in known:
            scanned.append(scan_file(content, digests[-1]))
    return sizes, digests, table_of(scanned)


def scan(root: Path, names: Sequence[str], cache: Path) -> ScanResult:
    """Scan files on every core.

    Args:
        root: folder of the dataset.
        names: paths relative to it.
        cache: folder with results of earlier scans by content; entries of another version of this code or of Pillow are not used.
    """
    kept = cache / f"{_version()}.parquet"
    tables = [pd.read_parquet(kept) if kept.exists() else table_of([])]
    known = frozenset(tables[0]["sha256"])
    blocks = [names[start : start + BLOCK_SIZE] for start in range(0, len(names), BLOCK_SIZE)]
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
        with atomic_write(kept) as draft:
            table.to_parquet(draft, index=False)
        for stale in set(cache.glob("*.parquet")) - {kept}:
            stale.unlink()
    found = table.set_index("sha256").loc[digests].reset_index()
    thumbnails = np.frombuffer(b"".join(found["thumbnail"]), dtype=np.uint8).reshape(-1, THUMBNAIL_SIZE, THUMBNAIL_SIZE)
    return ScanResult(found.drop(columns="thumbnail").assign(path=list(names), bytes=sizes), thumbnails, decoded)


def _version() -> str:
    """Version of everything that affects a row: this code, the decoder and Pillow."""
    code = [Path(file).read_bytes() for file in (__file__, appearance.__file__, headers.__file__, images.__file__)]
    return hashlib.sha256(b"\0".join([*code, PIL.__version__.encode()])).hexdigest()[:16]
