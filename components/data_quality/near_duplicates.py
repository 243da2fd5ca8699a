"""Finds near-duplicates: the same image resized, recompressed, mirrored, rotated, slightly cropped or brightened.

Each image is represented by a small square gray thumbnail. The search has two steps:

1. Candidates. The magnitudes of a thumbnail's low-frequency cosine coefficients, sorted within each pair (u, v), (v, u), do not
   change when the image is mirrored or rotated by 90 degrees. For each image, uncropped and cropped in six ways, the few nearest other
   images are searched (components/data_quality/nearest_points.py).
2. Verification. In each candidate pair, one thumbnail is transformed to the best of its eight orientations and aligned with the
   other in scale and position (inverse compositional Gauss-Newton: Baker and Matthews 2004), first at half size. The score is the
   correlation of fine structure with normalized local contrast: broad shading, in which different lesions resemble each other, is
   removed, and a lesion's dark border weighs no more than the skin around it.

The coefficients follow the perceptual hash of Zauner (2010), without quantization.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

from components.data_quality.alignment import IDENTITY, Floats, align_images, blurred, fine_correlation, warp_images
from components.data_quality.nearest_points import Index, exact_index
from components.imaging.appearance import THUMBNAIL_SIZE

MAX_ORDER = 5
"""Largest sum of the two frequencies of a coefficient in the descriptor."""
MARGIN, WIDE_MARGIN = 0.05, 0.10
"""Shares of the side that a crop removes: centered or in a corner, and centered only."""
NEIGHBORS = 4
MAX_DESCRIPTOR_DISTANCE = 0.2
"""Largest distance of descriptors at which a neighbor is a candidate."""
COARSE = 16
MIN_COARSE_CORRELATION = 0.93
"""Minimum correlation of tiny thumbnails, in the best orientation and window."""
HALF = THUMBNAIL_SIZE // 2
HALF_STEPS, STEPS = 2, 4
MIN_HALF_SCALE_CORRELATION = 0.45
"""Minimum correlation of fine structure at half size, after the first alignment."""
BLOCK = 512
Thumbnails = NDArray[np.uint8]
Window = tuple[float, float, float, float]
"""Top, left, height and width as shares of the side."""


@dataclass(frozen=True)
class Pairs:
    """Pairs of images: `indices` of shape (n, 2), first below second, sorted; `scores` of shape (n,), 1 for equal images."""

    indices: NDArray[np.int64]
    scores: Floats


def find_near_pairs(thumbnails: Thumbnails, min_score: float, index: Index = exact_index) -> Pairs:
    """Find pairs that show the same image.

    Args:
        thumbnails: uint8, shape (n, THUMBNAIL_SIZE, THUMBNAIL_SIZE).
        min_score: minimum correlation of fine structure after alignment.
        index: how candidates are searched.
    """
    found = verify_pairs(thumbnails, candidate_pairs(thumbnails, index))
    kept = found.scores >= min_score
    return Pairs(found.indices[kept], found.scores[kept])


def crop_windows() -> list[Window]:
    """Parts of an image that are compared; the first is the whole image."""
    places = [(MARGIN, 0.5, 0.5), *((MARGIN, y, x) for y in (0, 1) for x in (0, 1)), (WIDE_MARGIN, 0.5, 0.5)]
    return [(0, 0, 1, 1), *((margin * y, margin * x, 1 - margin, 1 - margin) for margin, y, x in places)]


def _sampler(start: float, extent: float, size: int, side: int = THUMBNAIL_SIZE) -> Floats:
    """Matrix of shape (size, side) that samples `size` points of the span [start, start + extent] by linear interpolation."""
    at = ((np.arange(size) + 0.5) / size * extent + start) * side - 0.5
    low = np.clip(np.floor(at).astype(int), 0, side - 2)
    matrix = np.zeros((size, side), dtype=np.float32)
    matrix[np.arange(size), low] = 1 - (at - low)
    matrix[np.arange(size), low + 1] = at - low
    return matrix


def descriptors(thumbnails: Thumbnails, window: Window = (0, 0, 1, 1)) -> Floats:
    """Descriptors that are invariant to mirroring, rotation by 90 degrees and brightness.

    Returns:
        Shape (n, 20): sorted magnitudes of cosine coefficients, relative to the image's contrast.
    """
    top, left, height, width = window
    order = MAX_ORDER + 1
    cosines = dct(np.eye(THUMBNAIL_SIZE, dtype=np.float32), axis=0, norm="ortho")[:order]
    seen = _sampler(top, height, THUMBNAIL_SIZE) @ thumbnails.astype(np.float32) @ _sampler(left, width, THUMBNAIL_SIZE).T
    spread = seen.reshape(len(seen), -1).std(axis=1) * THUMBNAIL_SIZE
    size = np.abs(cosines @ seen @ cosines.T) / np.maximum(spread, 1)[:, None, None]
    every = np.stack(np.triu_indices(order))
    u, v = every[:, (every.sum(axis=0) > 0) & (every.sum(axis=0) <= MAX_ORDER)]
    mirrored = u != v
    larger, smaller = np.maximum(size[:, u, v], size[:, v, u]), np.minimum(size[:, u, v], size[:, v, u])
    return np.concatenate([larger, smaller[:, mirrored]], axis=1)


def candidate_pairs(thumbnails: Thumbnails, index: Index = exact_index) -> NDArray[np.int64]:
    """Find pairs that may be near-duplicates.

    Args:
        thumbnails: uint8, shape (n, THUMBNAIL_SIZE, THUMBNAIL_SIZE).
        index: how the nearest descriptors are searched.

    Returns:
        Indices of shape (n, 2), each pair once; some window of the first image resembles the whole of the second.
    """
    if len(thumbnails) < 2:
        return np.empty((0, 2), dtype=np.int64)
    query = index(_blockwise(descriptors, thumbnails))
    found: list[NDArray[np.int64]] = []
    distances: list[Floats] = []
    for window in crop_windows():
        seen = _blockwise(partial(descriptors, window=window), thumbnails)
        distance, neighbor = query(seen, min(NEIGHBORS, len(thumbnails)), MAX_DESCRIPTOR_DISTANCE)
        image = np.repeat(np.arange(len(thumbnails)), neighbor.shape[1])
        near, distance = neighbor.ravel(), distance.ravel()
        kept = (near < len(thumbnails)) & (near != image)
        found.append(np.stack([image[kept], near[kept]], axis=1))
        distances.append(distance[kept])
    pairs = np.concatenate(found)
    key = pairs.min(axis=1) * len(thumbnails) + pairs.max(axis=1)
    order = np.lexsort((np.concatenate(distances), key))
    return pairs[order[np.unique(key[order], return_index=True)[1]]]


def verify_pairs(thumbnails: Thumbnails, pairs: NDArray[np.int64]) -> Pairs:
    """Score candidate pairs.

    Args:
        thumbnails: uint8, shape (n, THUMBNAIL_SIZE, THUMBNAIL_SIZE).
        pairs: indices, shape (m, 2), as returned by `candidate_pairs`.

    Returns:
        All pairs, sorted; pairs below the coarse or the half-size threshold score 0.
    """
    if not len(pairs):
        return Pairs(np.empty((0, 2), dtype=np.int64), np.empty(0, dtype=np.float32))
    uncut = _blockwise(partial(_downsample_coarse, parts=crop_windows()[:1]), thumbnails)[:, 0]

    def verify(start: int) -> Floats:
        first, second = pairs[start : start + BLOCK].T
        scores = np.zeros(len(first), dtype=np.float32)
        turned = np.stack([_apply_symmetry(uncut[second], np.full(len(second), number)) for number in range(8)], axis=1)
        images, image = np.unique(first, return_inverse=True)
        cut = _downsample_coarse(thumbnails[images], crop_windows())[image]
        alike = (_flatten(turned) @ _flatten(cut).swapaxes(1, 2)).reshape(len(first), -1)
        orientation, window = np.divmod(alike.argmax(axis=1), cut.shape[1])
        left = np.flatnonzero(alike.max(axis=1) >= MIN_COARSE_CORRELATION)
        warp = np.tile(IDENTITY, (len(first), 1))
        for size, steps, least in ((_downsample, HALF_STEPS, MIN_HALF_SCALE_CORRELATION), (_as_float, STEPS, -1.0)):
            fixed = _crop_and_resample(size(thumbnails[first[left]]), window[left])
            moving = _apply_symmetry(size(thumbnails[second[left]]), orientation[left])
            warp[left] = align_images(fixed, moving, warp[left], steps)
            correlation = fine_correlation(fixed, warp_images(moving, warp[left]))
            left, correlation = left[correlation >= least], correlation[correlation >= least]
        scores[left] = correlation
        return scores

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        scores = np.concatenate(list(pool.map(verify, range(0, len(pairs), BLOCK))))
    indices = np.sort(pairs, axis=1)
    order = np.lexsort((indices[:, 1], indices[:, 0]))
    return Pairs(indices[order], scores[order])


def _blockwise(measure: Callable[[Thumbnails], Floats], thumbnails: Thumbnails) -> Floats:
    """Apply `measure` to all thumbnails block by block, to limit the memory for its intermediate floats."""
    return np.concatenate([measure(thumbnails[start : start + BLOCK]) for start in range(0, len(thumbnails), BLOCK)])


def _as_float(thumbnails: Thumbnails) -> Floats:
    return thumbnails.astype(np.float32)


def _downsample(thumbnails: Thumbnails) -> Floats:
    halved: Floats = _as_float(thumbnails).reshape(-1, HALF, 2, HALF, 2).mean(axis=(2, 4))
    return halved


def _downsample_coarse(thumbnails: Thumbnails, parts: Sequence[Window]) -> Floats:
    """Downsample each part to a tiny thumbnail with mean 0 and norm 1: shape (n, parts, COARSE, COARSE)."""
    soft = blurred(_as_float(thumbnails), 1 / THUMBNAIL_SIZE)
    cut = [_sampler(top, height, COARSE) @ soft @ _sampler(left, width, COARSE).T for top, left, height, width in parts]
    tiny = np.stack(cut, axis=1)
    tiny -= tiny.mean(axis=(2, 3), keepdims=True)
    return tiny / np.maximum(np.linalg.norm(tiny, axis=(2, 3), keepdims=True), 1e-6)


def _flatten(images: Floats) -> Floats:
    return images.reshape(*images.shape[:2], COARSE**2)


def _apply_symmetry(images: Floats, number: NDArray[np.int64]) -> Floats:
    """Apply one of the eight orientations to each image: bit 0 transposes, bit 1 flips rows, bit 2 flips columns."""
    out = images.copy()
    turned, upturned, mirrored = (number >> bit & 1 == 1 for bit in range(3))
    out[turned] = out[turned].swapaxes(1, 2)
    out[upturned] = out[upturned, ::-1]
    out[mirrored] = out[mirrored, :, ::-1]
    return out


def _crop_and_resample(images: Floats, window: NDArray[np.int64]) -> Floats:
    side, out = images.shape[1], np.empty_like(images)
    for number, (top, left, height, width) in enumerate(crop_windows()):
        chosen = window == number
        out[chosen] = _sampler(top, height, side, side) @ images[chosen] @ _sampler(left, width, side, side).T
    return out
