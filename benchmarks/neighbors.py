"""Compare the two searches for candidates of near-duplicates: exact with a k-d tree, and with faiss's graph.

    python -m benchmarks.neighbors FOLDER [--sizes N ...]

The points are the descriptors of thumbnails: of the images in FOLDER, and beyond their number of blends of two of them. One in twenty is
replaced by an altered copy of another: turned, cropped, brighter or darker, with noise. The graph is asked about every image and its
crops, as `validate` does; the k-d tree about a sample of images, from which its time for all is estimated. The recall is the share of the
exact search's pairs that the graph finds too. Another table varies the settings of the graph.
"""

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.duplicates import blends, plain
from benchmarks.harness import machine
from benchmarks.harness.tables import Target, table
from components.data_quality import near_duplicates, nearest_points
from components.data_quality.near_duplicates import MAX_DESCRIPTOR_DISTANCE, NEIGHBORS, Thumbnails
from components.data_quality.nearest_points import Query
from components.imaging.appearance import THUMBNAIL_SIZE
from components.imaging.images import SUFFIXES

NAME = "neighbors"
SIZES = (12_000, 50_000, 100_000, 200_000, 400_000)
VARIED_SIZE = 100_000
"""Images for the table of settings."""
LINKS, BREADTHS = (8, 16, 32), (16, 32, 64, 128)
COPIES = 20
"""One image in so many is an altered copy of another."""
NOISE = 2.0
"""Standard deviation of the noise in a copy, in levels: about that of saving as JPEG again."""
ASKED = 2_000
"""Images about which the k-d tree is asked, at most: half of them copies and their originals."""
BLOCK = 4096
RECALL = Target(0.999)
Points = NDArray[np.float32]


@dataclass(frozen=True)
class Case:
    """`points`: descriptors of all images; `crops`: of each window of all images, which are the queries; `copies`: of each altered copy
    its position and that of its original, shape (n, 2); `asked`: positions of the sample, which holds some copies with their originals."""

    points: Points
    crops: list[Points]
    copies: NDArray[np.int64]
    asked: NDArray[np.int64]

    @property
    def size(self) -> int:
        """Images."""
        return len(self.points)


def main() -> None:
    """Measure, print the tables, and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of images (default: %(default)s)")
    given = parser.parse_args()
    described = machine.describe()
    paths = sorted(path for path in given.folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        parser.error(f"{given.folder} holds no images")
    with ProcessPoolExecutor() as pool:
        content = b"".join(pool.map(plain, paths, chunksize=64))
    thumbnails = np.frombuffer(content, dtype=np.uint8).reshape(-1, THUMBNAIL_SIZE, THUMBNAIL_SIZE)
    document: dict[str, Any] = {"machine": described, "images": len(paths), "asked": ASKED, "sizes": [], "settings": []}
    for size in given.sizes:
        case = made_case(thumbnails, size)
        document["sizes"].append(compared(case))
        print(document["sizes"][-1], flush=True)
        if size == VARIED_SIZE:
            document["settings"] = varied(case)
        print(f"written to {machine.write(NAME, document, report=report(document))}", flush=True)
    print(report(document))


def made_case(thumbnails: Thumbnails, size: int) -> Case:
    """The descriptors of `size` images, made from real thumbnails."""
    random = np.random.default_rng(size)
    if size <= len(thumbnails):
        images = thumbnails[random.permutation(len(thumbnails))[:size]]
    else:
        images = np.concatenate([thumbnails, blends(thumbnails, size - len(thumbnails), random)])[random.permutation(size)]
    number = size // COPIES
    copies = np.arange(2 * number).reshape(2, number).T
    images[copies[:, 0]] = [altered(image, random) for image in images[copies[:, 1]]]
    windows = near_duplicates.crop_windows()
    crops = [in_blocks(partial(near_duplicates.descriptors, window=window), images) for window in windows]
    asked = np.union1d(copies[: ASKED // 4], random.permutation(size)[: ASKED // 2])
    return Case(crops[0], crops, copies, asked)


def altered(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """A copy in one of the eight orientations, cropped by one of the windows, with other brightness, and noise."""
    windows = near_duplicates.crop_windows()
    top, left, height, width = (share * THUMBNAIL_SIZE for share in windows[random.integers(len(windows))])
    box = (left, top, left + width, top + height)
    cut = np.asarray(Image.fromarray(image).resize((THUMBNAIL_SIZE, THUMBNAIL_SIZE), box=box), dtype=np.float32)
    turned = np.rot90(cut[:, ::-1] if random.integers(2) else cut, int(random.integers(4)))
    levels = turned * random.uniform(0.8, 1.3) + random.normal(0, NOISE, turned.shape)
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def in_blocks(measure: Callable[[Thumbnails], NDArray[np.floating]], images: Thumbnails) -> Points:
    """Measure all images, block by block."""
    return np.concatenate([measure(images[start : start + BLOCK]).astype(np.float32) for start in range(0, len(images), BLOCK)])


def pairs_of(query: Query, case: Case, positions: NDArray[np.int64]) -> tuple[set[tuple[int, int]], float]:
    """The candidates of the images at `positions`, as (image, neighbor), and microseconds per query."""
    pairs: set[tuple[int, int]] = set()
    seconds = 0.0
    for crop in case.crops:
        start = time.perf_counter()
        neighbors = query(crop[positions], NEIGHBORS, MAX_DESCRIPTOR_DISTANCE)[1]
        seconds += time.perf_counter() - start
        image = np.repeat(positions, NEIGHBORS)
        near = neighbors.ravel()
        kept = (near < case.size) & (near != image)
        pairs.update(zip(image[kept].tolist(), near[kept].tolist(), strict=True))
    return pairs, 1e6 * seconds / len(positions) / len(case.crops)


def copies_found(pairs: set[tuple[int, int]], case: Case) -> float:
    """Share of the altered copies in the sample that are paired with their original, by a search from either of the two."""
    copies = case.copies[np.isin(case.copies, case.asked).all(axis=1)].tolist()
    return sum((copy, original) in pairs or (original, copy) in pairs for copy, original in copies) / len(copies)


def timed_index(build: Callable[[Points], Query], points: Points) -> tuple[Query, float]:
    """The index, and the seconds to build it."""
    start = time.perf_counter()
    query = build(points)
    return query, time.perf_counter() - start


def compared(case: Case) -> dict[str, Any]:
    """Both searches on one number of images."""
    exact, exact_build = timed_index(nearest_points.exact_index, case.points)
    graph, graph_build = timed_index(nearest_points.graph_index, case.points)
    expected, exact_query = pairs_of(exact, case, case.asked)
    everything, graph_query = pairs_of(graph, case, np.arange(case.size))
    found = {pair for pair in everything if pair in expected}
    queries = case.size * len(case.crops)
    return {
        "size": case.size,
        "exact": {
            "build_seconds": exact_build,
            "microseconds_per_query": exact_query,
            "estimated_seconds": exact_build + queries * exact_query / 1e6,
            "pairs": len(expected),
            "copies_found": copies_found(expected, case),
        },
        "graph": {
            "build_seconds": graph_build,
            "microseconds_per_query": graph_query,
            "seconds": graph_build + queries * graph_query / 1e6,
            "recall": len(found) / len(expected),
            "copies_found": copies_found(everything, case),
        },
    }


def varied(case: Case) -> list[dict[str, Any]]:
    """The graph with other settings on the sample of images."""
    expected, _ = pairs_of(nearest_points.exact_index(case.points), case, case.asked)
    rows = []
    for links in LINKS:
        start = time.perf_counter()
        graph = nearest_points.build_graph(case.points, links)
        seconds = time.perf_counter() - start
        for breadth in BREADTHS:
            graph.hnsw.efSearch = breadth
            found, microseconds = pairs_of(nearest_points.query_of(graph), case, case.asked)
            recall = len(found & expected) / len(expected)
            rows.append(
                {"links": links, "breadth": breadth, "build_seconds": seconds, "microseconds_per_query": microseconds, "recall": recall}
            )
    return rows


def report(document: dict[str, Any]) -> str:
    """Both tables in Markdown."""
    sizes = [
        [
            f"{row['size']:,}",
            f"{row['exact']['microseconds_per_query']:.0f}",
            f"{row['exact']['estimated_seconds'] / 60:.1f}",
            f"{row['graph']['build_seconds']:.1f}",
            f"{row['graph']['microseconds_per_query']:.0f}",
            f"{row['graph']['seconds'] / 60:.1f}",
            f"{row['graph']['recall']:.4f}",
            RECALL.verdict(row["graph"]["recall"]),
            f"{row['exact']['copies_found']:.3f}",
            f"{row['graph']['copies_found']:.3f}",
        ]
        for row in document["sizes"]
    ]
    head = ["images", "exact, us a query", "minutes", "graph: build, s", "us a query", "minutes", f"recall {RECALL}", ""]
    parts = [table([*head, "copies found, exact", "graph"], sizes)]
    if document["settings"]:
        rows = [
            [
                str(row["links"]),
                str(row["breadth"]),
                f"{row['build_seconds']:.1f}",
                f"{row['microseconds_per_query']:.0f}",
                f"{row['recall']:.4f}",
            ]
            for row in document["settings"]
        ]
        parts.append(table(["links", "breadth", "build, s", "us a query", f"recall at {VARIED_SIZE:,} images"], rows))
    return "\n\n".join([*parts, f"Measured on {document['machine']}."])


if __name__ == "__main__":
    main()
