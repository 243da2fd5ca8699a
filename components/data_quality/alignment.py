"""Aligns two thumbnails and computes the correlation of their fine structure."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

SHADING = 1 / 16
"""Standard deviation, as a share of the side, of the blur that is subtracted before thumbnails are aligned."""
FINE_BLUR, CONTRAST_BLUR, BORDER = 1 / 32, 1 / 8, 1 / 24
"""Shares of the side: blur subtracted to keep fine structure, blur for local contrast normalization, and excluded border."""
CONTRAST_FLOOR = 2.0
"""Gray levels added to the local contrast before division."""

Floats = NDArray[np.floating]


IDENTITY = np.array([1, 0, 1, 0], dtype=np.float32)
"""Scale and shift of rows, then of columns, in coordinates from -1 to 1."""


def align_images(fixed: Floats, moving: Floats, warp: Floats, steps: int) -> Floats:
    """Return the warp, shape (n, 4), that best aligns `moving` with `fixed`, both without shading."""
    side = fixed.shape[1]
    fixed, moving = _without_shading(fixed, SHADING), _without_shading(moving, SHADING)
    place = np.linspace(-1, 1, side, dtype=np.float32)
    by_row, by_column = np.gradient(fixed, 2 / (side - 1), axis=(1, 2))
    slopes = np.stack([by_row * place[:, None], by_row, by_column * place, by_column], axis=1).reshape(len(fixed), 4, side * side)
    solver = np.linalg.inv(slopes @ slopes.swapaxes(1, 2) + 1e-3 * np.eye(4, dtype=np.float32))
    best, found = np.full(len(fixed), -1, dtype=np.float32), warp
    for step in range(steps + 1):
        now = warp_images(moving, warp)
        correlation = _pearson(fixed, now)
        better = correlation > best
        best, found = np.where(better, correlation, best), np.where(better[:, None], warp, found)
        if step < steps:
            gain = _dot(fixed, now) / np.maximum(_dot(now, now), 1e-6)
            missing = (gain[:, None, None] * now - fixed).reshape(len(fixed), side * side, 1)
            change = np.clip((solver @ (slopes @ missing))[:, :, 0], -0.1, 0.1)
            scale = warp[:, ::2] / (1 + change[:, ::2])
            warp = np.stack([scale, warp[:, 1::2] - scale * change[:, 1::2]], axis=2).reshape(-1, 4)
    return found


def warp_images(images: Floats, warp: Floats) -> Floats:
    """Sample each image bilinearly at scale * position + shift; beyond the border, the border is repeated."""
    place = np.linspace(-1, 1, images.shape[1], dtype=np.float32)
    for at in (2, 0):
        images = _sampled_rows(images.swapaxes(1, 2) if at else images, warp[:, at, None] * place + warp[:, at + 1, None])
        images = images.swapaxes(1, 2) if at else images
    return images


def _sampled_rows(images: Floats, places: Floats) -> Floats:
    last = images.shape[1] - 1
    at = np.clip((places + 1) / 2 * last, 0, last)
    low = np.minimum(at.astype(np.int64), last - 1)
    share = (at - low)[:, :, None].astype(np.float32)
    which = np.arange(len(images))[:, None]
    lower = images[which, low]
    return lower + share * (images[which, low + 1] - lower)


def fine_correlation(one: Floats, other: Floats) -> Floats:
    rim = round(one.shape[1] * BORDER)
    inner = slice(rim, -rim)
    return _pearson(*(normalize_local_contrast(images)[:, inner, inner] for images in (one, other)))


def _without_shading(images: Floats, blur: float) -> Floats:
    return images - blurred(images, blur)


def blurred(images: Floats, blur: float) -> Floats:
    """Gaussian blur whose standard deviation is a share of the side; a matrix product is faster than a filter here."""
    side = images.shape[1]
    weights = gaussian_filter1d(np.eye(side), side * blur, axis=0).astype(np.float32)
    return weights @ images @ weights.T


def normalize_local_contrast(images: Floats) -> Floats:
    """Fine structure with normalized local contrast."""
    fine = _without_shading(images, FINE_BLUR)
    return fine / (np.sqrt(blurred(fine * fine, CONTRAST_BLUR)) + CONTRAST_FLOOR)


def _dot(one: Floats, other: Floats) -> Floats:
    return np.einsum("nij,nij->n", one, other)


def _pearson(one: Floats, other: Floats) -> Floats:
    one, other = (values - values.mean(axis=(1, 2), keepdims=True) for values in (one, other))
    return _dot(one, other) / np.maximum(np.sqrt(_dot(one, one) * _dot(other, other)), 1e-6)
