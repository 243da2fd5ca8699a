"""Finds the nearest points: exactly with a k-d tree, or with faiss's graph, which is much faster among many points and misses a few.

The k-d tree (Bentley 1975) is scipy's. In 20 dimensions it visits more of its points the more there are, so the time for all points grows
nearly with their square. The graph is a hierarchical navigable small world (HNSW: Malkov and Yashunin 2018). It needs the optional
package faiss-cpu.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from components.data_quality.alignment import Floats

if TYPE_CHECKING:
    import faiss

MANY = 100_000
"""Points up to which the search is exact: for so many images it takes minutes on two cores, and for four times as many more than an hour
(`python -m benchmarks.neighbors`)."""
LINKS = 16
"""Links of a point in each layer of the graph but the lowest, which has twice as many (M of HNSW)."""
BUILD_BREADTH, BREADTH = 40, 64
"""Points that a search through the graph keeps in view, while the graph is built and afterwards (efConstruction and efSearch of HNSW).
With these and LINKS the benchmark `neighbors` finds 0.9999 of the pairs of the exact search among 12,000 ISIC images."""
PACKAGE = "faiss-cpu"

Query = Callable[[Floats, int, float], tuple[Floats, NDArray[np.int64]]]
"""Function from points of shape (n, d), a number k and a distance to the distances and positions of the k nearest indexed points of each,
both of shape (n, k), nearest first. Where fewer are within the distance, the rest is infinity and the number of indexed points."""
Index = Callable[[Floats], Query]
"""Function from points of shape (m, d), m >= 1, to the search among them."""


def index_for(count: int) -> Index:
    """The index for `count` images. Prints a line if there are more than MANY: which index it is, and how to get the fast one."""
    if count <= MANY:
        return exact_index
    if find_spec("faiss") is None:
        print(
            f"searching near-duplicates exactly among {count:,} images, which may take hours. "
            f"Run `pip install {PACKAGE}` to have it done in minutes."
        )
        return exact_index
    print(f"searching near-duplicates among {count:,} images with {PACKAGE}, which may miss a few")
    return graph_index


def exact_index(points: Floats) -> Query:
    """Index points in a k-d tree."""
    tree = cKDTree(points)

    def query(seen: Floats, count: int, within: float) -> tuple[Floats, NDArray[np.int64]]:
        distances, positions = tree.query(seen, k=np.arange(1, count + 1), distance_upper_bound=within, workers=-1)
        return distances, positions

    return query


def graph_index(points: Floats) -> Query:
    """Index points in a graph. Equal points give an equal graph on one machine."""
    return query_of(build_graph(points))


def query_of(graph: "faiss.IndexHNSWFlat") -> Query:
    """The search through a graph."""

    def query(seen: Floats, count: int, within: float) -> tuple[Floats, NDArray[np.int64]]:
        squares, positions = graph.search(np.ascontiguousarray(seen, dtype=np.float32), count)
        near = (positions >= 0) & (squares < within**2)
        return np.where(near, np.sqrt(np.maximum(squares, 0)), np.inf), np.where(near, positions, graph.ntotal)

    return query


def build_graph(points: Floats, links: int = LINKS) -> "faiss.IndexHNSWFlat":
    """Build the graph in one thread, since several would link points in the order in which they happen to be done.

    Args:
        points: shape (m, d).
        links: as LINKS.
    """
    import faiss

    graph = faiss.IndexHNSWFlat(points.shape[1], links)
    graph.hnsw.efConstruction = BUILD_BREADTH
    graph.hnsw.efSearch = BREADTH
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        graph.add(np.ascontiguousarray(points, dtype=np.float32))
    finally:
        faiss.omp_set_num_threads(threads)
    return graph
