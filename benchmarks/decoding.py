"""Compare speed and pixels of `images.load_pixels` with full decoding by Pillow's `Image.open`, for small and large images.

    python -m benchmarks.decoding [--resolution PIXELS] [IMAGE ...]

Each image (default: three of data/) is resized to each size, with a little camera-like noise, and saved as a JPEG; those of 3,000
pixels also as phones save them, rotated by EXIF or with a color profile. Both methods are interleaved in every round and measured in
CPU seconds of this process, which other load on the machine affects less than wall time.
"""

import argparse
import io
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps

from benchmarks.harness import machine, tables
from benchmarks.harness.timing import interleaved_rounds, median_ratio, medians
from components.core.paths import DATA
from components.imaging import images

NAME = "decoding"
SIDE = 224
SIZES = ((200, 150), (600, 450), (1024, 768), (3000, 2250), (4000, 3000))
QUALITY = 92
NOISE = 3.0
"""Standard deviation, in levels."""
LEAST_SECONDS = 0.3
"""Minimum seconds of one measurement; shorter ones are repeated."""
SMALL, LARGE = tables.Target(0.95), tables.Target(2.5)
"""Required speedup for the smallest images and for those of 3,000 pixels."""


def main() -> None:
    """Measure, print the table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="*", type=Path, metavar="IMAGE")
    parser.add_argument("--resolution", type=int, metavar="PIXELS", help="same as images.resolution (default: none)")
    parser.add_argument("--rounds", type=int, default=9, help="rounds whose median is taken (default: %(default)s)")
    given = parser.parse_args()
    described = machine.describe()
    chosen = given.images or sorted(DATA.rglob("*.jpg"))[::100][:3]
    if not chosen:
        parser.error(f"{DATA}/ holds no JPEG: name some")
    pictures = [images.decode(path.read_bytes()) for path in chosen]
    rows = [measured(name, contents, given.rounds, given.resolution) for name, contents in kinds(pictures).items()]
    document = {"machine": described, "side": SIDE, "resolution": given.resolution, "rounds": given.rounds, "rows": rows}
    name = NAME if given.resolution is None else f"{NAME}_at_{given.resolution}"
    print(f"{report(document)}\n\nwritten to {machine.write(name, document)}")


def kinds(pictures: list[Image.Image]) -> dict[str, list[bytes]]:
    """Files of each kind, by name of the kind."""
    found = {f"{width} x {height}": [saved(picture, (width, height)) for picture in pictures] for width, height in SIZES}
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for width, height in (SIZES[0], (3000, 2250)):
        found[f"{width} x {height}, turned"] = [saved(picture, (width, height), exif=turned) for picture in pictures]
        found[f"{width} x {height}, with a profile"] = [saved(picture, (width, height), icc_profile=profile) for picture in pictures]
    return found


def saved(picture: Image.Image, size: tuple[int, int], **options: Any) -> bytes:
    """Encode the image at this size as JPEG."""
    clean = np.asarray(picture.resize(size, Image.Resampling.BICUBIC), dtype=np.float64)
    pixels = clean + np.random.default_rng(0).normal(0, NOISE, clean.shape)
    stream = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(stream, "JPEG", quality=QUALITY, **options)
    return stream.getvalue()


def in_full(content: bytes, resolution: int | None) -> images.Pixels:
    """Decode every pixel, ignoring the color profile."""
    image: Image.Image = Image.open(io.BytesIO(content), formats=("JPEG", "PNG"))
    image.load()
    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        ImageOps.exif_transpose(image, in_place=True)
    return images.center_square_resize(images.downsample_to(image, resolution), SIDE)


def as_served(content: bytes, resolution: int | None) -> images.Pixels:
    """Decode to the model's input."""
    return images.load_pixels(content, SIDE, resolution)


def measured(name: str, contents: list[bytes], rounds: int, resolution: int | None) -> dict[str, Any]:
    """Images per second of both methods, interleaved, and the mean difference of their pixels in levels."""
    found = interleaved_rounds({way.__name__: rate(partial(way, resolution=resolution), contents) for way in (in_full, as_served)}, rounds)
    levels = [np.abs(in_full(content, resolution).astype(int) - as_served(content, resolution)).mean() for content in contents]
    return {
        "picture": name,
        "milliseconds": {way: 1000 / value for way, value in medians(found).items()},
        "times_faster": median_ratio(found, as_served.__name__, in_full.__name__),
        "levels_apart": float(statistics.mean(levels)),
    }


def rate(way: Callable[[bytes], images.Pixels], contents: list[bytes]) -> Callable[[], float]:
    """Images per CPU second."""

    def run() -> float:
        start, count = time.process_time(), 0
        while (taken := time.process_time() - start) < LEAST_SECONDS:
            for content in contents:
                way(content)
            count += len(contents)
        return count / taken

    return run


def report(document: dict[str, Any]) -> str:
    """The results as a table."""
    targets = {"200 x 150": SMALL, "3000 x 2250": LARGE}
    head = ["JPEG", "in full, ms", "as served, ms", "times as fast", "target", "", "levels apart"]
    lines = []
    for row in document["rows"]:
        target, times = targets.get(row["picture"]), row["times_faster"]
        cells = [f"{row['milliseconds'][way.__name__]:.2f}" for way in (in_full, as_served)]
        held = [str(target), target.verdict(times)] if target else ["", ""]
        lines.append([row["picture"], *cells, f"{times:.2f}", *held, f"{row['levels_apart']:.2f}"])
    at = f" at a resolution of {document['resolution']} px" if document["resolution"] else ""
    said = f"To {document['side']} px{at}, processor time, medians of {document['rounds']} rounds in turn, on {document['machine']}"
    return f"{said}\n\n{tables.table(head, lines)}"


if __name__ == "__main__":
    main()
