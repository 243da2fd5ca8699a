"""The canvas on which lesions are painted: noise, skin, lesion borders, and the strokes and spots of structures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Plane = NDArray[np.floating[Any]]
Color = Sequence[float] | Plane
Rng = np.random.Generator

PIXELS_PER_UNIT = 64  # one unit is about two thirds of the field of view
CANVAS = 144  # width and height in pixels; larger than the view, so that a shifted or rotated view shows only skin
OVERSAMPLING = 2  # strokes and spots are drawn at this scale and then averaged, which smooths their edges

# Absorption of red, green and blue at density 1.
BROWN = (0.42, 0.80, 1.10)
BLACK = (1.25, 1.30, 1.30)
BLUE_GRAY = (0.95, 0.74, 0.52)
RED = (0.10, 0.80, 0.70)
PURPLE = (0.50, 1.05, 0.62)

# Colors of opaque structures.
WHITE = (0.95, 0.91, 0.89)
SCAR = (0.93, 0.84, 0.80)
KERATIN = (0.92, 0.83, 0.62)
CRUST = (0.52, 0.24, 0.12)

_SKIN_TONES = np.array([(0.95, 0.79, 0.72), (0.88, 0.68, 0.56), (0.72, 0.52, 0.40), (0.50, 0.34, 0.26), (0.33, 0.22, 0.17)])

_axis = (np.arange(CANVAS, dtype=np.float32) - (CANVAS - 1) / 2) / PIXELS_PER_UNIT
X, Y = np.meshgrid(_axis, _axis)
_DISTANCE = np.hypot(X, Y)
_ANGLE = np.arctan2(Y, X)


@dataclass
class Canvas:
    """A lesion while it is painted.

    Attributes:
        rgb: colors, shape (CANVAS, CANVAS, 3), 0 to 1.
        depth: 1 at the center of the lesion, 0 on its border, negative outside; shape (CANVAS, CANVAS).
        inside: membership of each pixel in the lesion, 0 to 1; shape (CANVAS, CANVAS).
    """

    rgb: Plane
    depth: Plane
    inside: Plane

    def stain(self, mask: Plane, absorption: Color, density: float) -> None:
        """Multiply the colors by the transmission of an absorber of this density, weighted by `mask`."""
        self.rgb *= np.exp(-density * mask[..., None] * np.asarray(absorption, np.float32))

    def cover(self, mask: Plane, color: Color) -> None:
        """Blend the colors with an opaque `color`, weighted by `mask`."""
        self.rgb += mask[..., None] * (np.asarray(color, np.float32) - self.rgb)

    def places(self, rng: Rng, count: int, shallow: float = 0.05, deep: float = 1.0, min_distance: float = 0.0) -> Plane:
        """Draw up to `count` points (x, y) between two depths, at least `min_distance` units apart; shape (n, 2)."""
        candidates = np.flatnonzero((self.depth > shallow) & (self.depth <= deep))
        if not len(candidates) or count < 1:
            return np.empty((0, 2), np.float32)
        indices = rng.choice(candidates, size=min(len(candidates), count * (6 if min_distance else 1)))
        points = np.column_stack([X.flat[indices], Y.flat[indices]])
        if not min_distance:
            return points
        selected = points[:1]
        for point in points[1:]:
            if len(selected) < count and np.hypot(*(selected - point).T).min() >= min_distance:
                selected = np.vstack([selected, point])
        return selected


def smooth_noise(rng: Rng, cells: int) -> Plane:
    """Noise of about unit variance with `cells` bumps across the canvas; shape (CANVAS, CANVAS)."""
    lattice = Image.fromarray(rng.standard_normal((cells + 2, cells + 2), np.float32))
    margin = 1.0 + rng.uniform(0, 0.5, 2)
    box = (margin[0] - 0.9, margin[1] - 0.9, cells + margin[0] - 0.1, cells + margin[1] - 0.1)
    noise: Plane = np.asarray(lattice.resize((CANVAS, CANVAS), Image.Resampling.BICUBIC, box=box)) * np.float32(1.5)
    return noise


def step(values: Plane, width: float) -> Plane:
    """Smoothstep around 0: 0 below `-width`, 1 above `width`."""
    ramp = np.clip(values / (2 * width) + 0.5, 0, 1)
    smooth: Plane = ramp * ramp * (3 - 2 * ramp)
    return smooth


def skin(rng: Rng, tone: float) -> Plane:
    """Skin without lesion, from very light (tone 0) to very dark (tone 1), with spots and furrows; shape (CANVAS, CANVAS, 3)."""
    position = tone * (len(_SKIN_TONES) - 1)
    base = [np.interp(position, range(len(_SKIN_TONES)), channel) for channel in _SKIN_TONES.T]
    rgb = np.tile(np.asarray(base, np.float32), (CANVAS, CANVAS, 1))
    canvas = Canvas(rgb, _DISTANCE, _DISTANCE)
    canvas.stain(smooth_noise(rng, 6) + smooth_noise(rng, 17) + 0.7 * smooth_noise(rng, 45), RED, rng.uniform(0.01, 0.03))
    canvas.stain(smooth_noise(rng, 9) + 0.5 * smooth_noise(rng, 30), BROWN, rng.uniform(0.01, 0.025))
    canvas.stain(_furrows(rng, 26, 0.25) * (0.5 + 0.5 * smooth_noise(rng, 8)).clip(0, 1.5), BROWN, rng.uniform(0.0, 0.09))
    return canvas.rgb


def patchy(rng: Rng, cells: int = 5) -> Plane:
    """Visibility of a structure over the canvas: mostly near 1, in some areas near 0.2."""
    return 0.2 + 0.8 * step(smooth_noise(rng, cells) + 0.8, 1.2)


def border(rng: Rng, radius: float, elongation: float, irregularity: float, notches: float) -> Plane:
    """Depth inside the border of an oval lesion, with lobes (`irregularity`) and notches (`notches`), both 0 to 1."""
    angle = _ANGLE - rng.uniform(0, 2 * np.pi)
    edge = radius / np.sqrt(elongation * np.cos(angle) ** 2 + np.sin(angle) ** 2 / elongation)
    for lobes in range(2, 8):
        edge = edge * (1 + irregularity * rng.normal(0, 0.22 / lobes**0.8) * np.cos(lobes * angle + rng.uniform(0, 2 * np.pi)))
    depth = 1 - _DISTANCE / np.maximum(edge, 0.1)
    depth = depth + (0.02 + 0.07 * irregularity) * smooth_noise(rng, 12)
    rim = np.flatnonzero(np.abs(depth) < 0.05)
    for index in rng.choice(rim, rng.poisson(14 * notches)):
        size = rng.uniform(0.1, 0.26) * radius
        bite = np.hypot(X - X.flat[index], Y - Y.flat[index]) / size + 0.15 * smooth_noise(rng, 14) - 1
        depth = np.minimum(depth, bite * size / radius)
    return depth.astype(np.float32)


# --- shared shapes -------------------------------------------------------------------------------------------------------------


def _furrows(rng: Rng, cells: int, width: float) -> Plane:
    """Curved lines: the zero set of smooth noise."""
    return 1 - step(np.abs(smooth_noise(rng, cells)) - width, width)


def honeycomb_lines(rng: Rng, pitch: float, warp: float) -> Plane:
    """A honeycomb mesh: about -1.5 on the lines, up to 3 in the holes, which are `pitch` units apart; warped by `warp` units."""
    x, y = X + warp * smooth_noise(rng, 7), Y + warp * smooth_noise(rng, 7)
    wave, rotation = 4 * math.pi / (math.sqrt(3) * pitch), rng.uniform(0, math.pi)
    first, third = rng.uniform(0, 2 * math.pi), rng.uniform(0, 2 * math.pi)
    mesh = np.zeros_like(X)
    # The second wave is the sum of the other two, phase included; otherwise the mesh would consist of triangles.
    for angle, phase in ((rotation, first), (rotation + math.pi / 3, first + third), (rotation + 2 * math.pi / 3, third)):
        mesh += np.cos(wave * (math.cos(angle) * x + math.sin(angle) * y) + phase)
    return mesh


def new_sheet() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    sheet = Image.new("L", (CANVAS * OVERSAMPLING, CANVAS * OVERSAMPLING))
    return sheet, ImageDraw.Draw(sheet)


def _pixels(points: Plane) -> list[tuple[float, float]]:
    """Convert points in units to pixels of a sheet."""
    pixels = (np.asarray(points) * PIXELS_PER_UNIT + CANVAS / 2) * OVERSAMPLING
    return [(float(x), float(y)) for x, y in pixels]


def as_plane(sheet: Image.Image) -> Plane:
    return np.asarray(sheet.reduce(OVERSAMPLING), np.float32) / 255


def soft_step(mask: Plane, pixels: float) -> Plane:
    """Blur a mask. Resizing it down and up is several times faster than a Gaussian filter."""
    small = Image.fromarray(mask).resize((int(CANVAS / pixels),) * 2, Image.Resampling.BOX)
    return np.asarray(small.resize((CANVAS, CANVAS), Image.Resampling.BICUBIC)).clip(0, 1)


def draw_spots(rng: Rng, centers: Plane, radii: Plane, roughness: float = 0.12, elongation: float = 1.0) -> Plane:
    """Draw roughly round spots of varying intensity: polygons whose radius varies by `roughness`."""
    sheet, draw = new_sheet()
    angles = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    for center, radius in zip(centers, radii, strict=True):
        radii_of_outline = radius * (1 + roughness * rng.standard_normal(len(angles)))
        axis, stretch = rng.uniform(0, np.pi), rng.uniform(1, elongation)
        along, across = radii_of_outline * np.cos(angles) * np.sqrt(stretch), radii_of_outline * np.sin(angles) / np.sqrt(stretch)
        outline = np.column_stack([along * np.cos(axis) - across * np.sin(axis), along * np.sin(axis) + across * np.cos(axis)])
        draw.polygon(_pixels(center + outline), fill=int(rng.uniform(130, 256)))
    return as_plane(sheet)


def draw_stroke(draw: ImageDraw.ImageDraw, points: Plane, width: float) -> None:
    """Draw a line through `points`, `width` canvas pixels wide. A line below one sheet pixel is drawn fainter instead of thinner."""
    pixels = width * OVERSAMPLING
    draw.line(_pixels(points), fill=round(255 * min(1, pixels)), width=max(1, round(pixels)), joint="curve")
