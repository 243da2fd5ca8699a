"""Photographs of a painted lesion through a dermatoscope: view, hairs, ruler, light, bubbles and vignette."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from components.synthetic.canvas import CANVAS, PIXELS_PER_UNIT, Rng, step
from components.synthetic.lesions import Lesion, paint


def render(lesion: Lesion, size: int, rng: Rng) -> NDArray[np.uint8]:
    """Render one image of a lesion; uint8, shape (size, size, 3). `rng` determines view, light and artifacts."""
    return photograph(paint(lesion), size, rng)


def photograph(painting: NDArray[np.uint8], size: int, rng: Rng) -> NDArray[np.uint8]:
    """Photograph a painting through a dermatoscope; uint8, shape (size, size, 3)."""
    view = _view(painting, size, rng)
    if rng.random() < 0.4:
        _hairs(view, rng)
    if rng.random() < 0.12:
        _ruler(view, rng)
    if rng.random() < 0.4:
        view = view.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.8) * size / 128))
    pixels = _light(np.asarray(view, np.float32), rng)
    if rng.random() < 0.25:
        pixels = _bubbles(pixels, rng)
    if rng.random() < 0.25:
        pixels = _vignette(pixels, rng)
    noise = rng.normal(0, rng.uniform(0.5, 2.5), pixels.shape[:2])
    return (pixels + noise[..., None]).clip(0, 255).astype(np.uint8)


def _view(painting: NDArray[np.uint8], size: int, rng: Rng) -> Image.Image:
    """Rotate, shift and zoom the painting."""
    margin = 40  # mirrored skin, for the corners of a rotated view
    source = Image.fromarray(np.pad(painting, ((margin, margin), (margin, margin), (0, 0)), mode="reflect"))
    rotation, zoom = rng.uniform(0, 2 * np.pi), rng.uniform(1.2, 1.5)
    pitch = 2 * PIXELS_PER_UNIT / (size * zoom)
    cos, sin = pitch * np.cos(rotation), pitch * np.sin(rotation)
    center = CANVAS / 2 + margin + rng.uniform(-0.1, 0.1, 2) * PIXELS_PER_UNIT
    offset = center - size / 2 * np.array([cos - sin, sin + cos])
    return source.transform((size, size), Image.Transform.AFFINE, (cos, -sin, offset[0], sin, cos, offset[1]), Image.Resampling.BICUBIC)


def _hairs(view: Image.Image, rng: Rng) -> None:
    """Draw hairs across the view, mostly dark, sometimes blond."""
    size, scale = view.width, 3
    mask = Image.new("L", (size * scale, size * scale))
    draw = ImageDraw.Draw(mask)
    main_direction, time = rng.uniform(0, np.pi), np.linspace(0, 1, 9)[:, None]
    for _ in range(rng.integers(1, 9)):
        angle = main_direction + rng.normal(0, 0.5)
        direction = np.array([np.cos(angle), np.sin(angle)]) * rng.uniform(0.4, 1.0)
        middle = rng.uniform(0, 1, 2)
        start, bend, end = middle - direction, middle + rng.normal(0, 0.15, 2), middle + direction
        curve = ((1 - time) ** 2 * start + 2 * time * (1 - time) * bend + time**2 * end) * size * scale
        shade, width = int(rng.uniform(120, 235)), round(rng.uniform(0.7, 1.6) * scale * size / 128)
        draw.line([(x, y) for x, y in curve.tolist()], fill=shade, width=max(1, width))
    color = (40, 28, 22) if rng.random() < 0.75 else (214, 190, 150)
    view.paste(color, mask=mask.reduce(scale))


def _ruler(view: Image.Image, rng: Rng) -> None:
    """Draw the millimeter marks of a contact plate along one edge."""
    draw, size = ImageDraw.Draw(view), view.width
    spacing, row, is_vertical = size * rng.uniform(0.06, 0.1), size * rng.uniform(0.9, 0.97), rng.random() < 0.5
    for index in range(int(size / spacing) + 1):
        length = size * (0.07 if index % 5 == 0 else 0.035)
        ends = [(index * spacing, row), (index * spacing, row - length)]
        draw.line([(y, x) for x, y in ends] if is_vertical else ends, fill=(35, 35, 40), width=1)


def _unit_grid(size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    return np.meshgrid(axis, axis)


def _light(pixels: NDArray[np.float32], rng: Rng) -> NDArray[np.float32]:
    """Apply exposure, white balance and a linear falloff of light."""
    x, y = _unit_grid(len(pixels))
    slope = 1 + rng.normal(0, 0.06) * x + rng.normal(0, 0.06) * y
    balance = rng.normal(1, 0.04, 3) * rng.uniform(0.85, 1.12)
    return pixels * slope[..., None] * balance.astype(np.float32)


def _bubbles(pixels: NDArray[np.float32], rng: Rng) -> NDArray[np.float32]:
    """Add bubbles in the gel: faint bright rims, each with a highlight."""
    x, y = _unit_grid(len(pixels))
    for _ in range(rng.integers(1, 5)):
        (cx, cy), radius = rng.uniform(-0.9, 0.9, 2), rng.uniform(0.03, 0.13)
        distance = np.hypot(x - cx, y - cy) / radius
        rim = np.exp(-(((distance - 1) / 0.2) ** 2)) * 0.25
        highlight = np.exp(-(np.hypot(x - cx + 0.4 * radius, y - cy + 0.4 * radius) ** 2) / (0.05 * radius**2 + 2e-4)) * 0.8
        pixels = pixels + np.maximum(rim, highlight)[..., None] * (250 - pixels)
    return pixels


def _vignette(pixels: NDArray[np.float32], rng: Rng) -> NDArray[np.float32]:
    """Add the round dark edge of the field of view."""
    x, y = _unit_grid(len(pixels))
    cx, cy = rng.normal(0, 0.04, 2)
    inside = step(rng.uniform(1.02, 1.25) - np.hypot(x - cx, y - cy), rng.uniform(0.02, 0.12))
    return pixels * (0.05 + 0.95 * inside)[..., None]
