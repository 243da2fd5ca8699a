"""Dermoscopic structures of pigment, vessels, keratin and skin surface.

Every structure is a function `(canvas, rng, strength)` that paints on a `Canvas`; `STRUCTURES` lists them in the order in which they
are painted, deepest first. Pigment and blood are painted as absorption (Beer-Lambert), so a lesion looks realistic on light and on dark
skin; scale, keratin and scars are opaque and are painted as cover. The terms are those of Kittler et al., "Standardization of
terminology in dermoscopy", J Am Acad Dermatol 2016 (doi:10.1016/j.jaad.2015.12.038).
"""

import math
from collections.abc import Callable

import numpy as np
from PIL import ImageDraw

from components.synthetic.canvas import (
    BLACK,
    BLUE_GRAY,
    BROWN,
    CRUST,
    KERATIN,
    PURPLE,
    RED,
    SCAR,
    WHITE,
    Canvas,
    Plane,
    Rng,
    X,
    Y,
    as_plane,
    draw_spots,
    draw_stroke,
    honeycomb_lines,
    new_sheet,
    patchy,
    smooth_noise,
    soft_step,
    step,
)

# --- pigment -------------------------------------------------------------------------------------------------------------------


def pigment_network(canvas: Canvas, rng: Rng, strength: float) -> None:
    """Regular brown mesh that thins out toward the border."""
    lines = 1 - step(honeycomb_lines(rng, rng.uniform(0.10, 0.145), 0.028) + 0.3 * smooth_noise(rng, 30) - 0.2, 1.4)
    canvas.stain(lines * patchy(rng) * canvas.inside * step(canvas.depth - 0.15, 0.25), BROWN, 0.25 + 0.7 * strength)


def atypical_network(canvas: Canvas, rng: Rng, strength: float) -> None:
    """Mesh with holes of all sizes and lines of all widths, thick and dark in places, ending abruptly."""
    mesh = honeycomb_lines(rng, rng.uniform(0.14, 0.2), 0.05) + 0.8 * smooth_noise(rng, 9) + 0.4 * smooth_noise(rng, 30)
    lines = 1 - step(mesh - 0.2, 1.1)
    patches = step(smooth_noise(rng, 4) + 0.3, 0.6)
    canvas.stain(lines * patches * canvas.inside, np.add(BROWN, 0.2), 0.3 + 0.8 * strength)


def peripheral_network(canvas: Canvas, rng: Rng, strength: float) -> None:
    """Delicate, pale mesh in a ring around the center."""
    lines = 1 - step(honeycomb_lines(rng, rng.uniform(0.095, 0.13), 0.03) + 0.3 * smooth_noise(rng, 30) - 0.1, 1.4)
    ring = step(canvas.depth - 0.05, 0.15) * (1 - step(canvas.depth - 0.5, 0.2))
    canvas.stain(lines * ring * patchy(rng), BROWN, 0.2 + 0.45 * strength)


def globules(canvas: Canvas, rng: Rng, strength: float) -> None:
    """Regular, evenly spread brown balls of one size."""
    centers = canvas.places(rng, int(25 + 45 * strength), 0.06, min_distance=0.12)
    mask = soft_step(draw_spots(rng, centers, rng.normal(0.042, 0.006, len(centers)), 0.08), 1.5)
    canvas.stain(mask * patchy(rng), BROWN, 0.4 + 0.6 * strength)


def irregular_dots(canvas: Canvas, rng: Rng, strength: float) -> None:
    """Dark dots and clods of different sizes, crowded on one side."""
    centers = canvas.places(rng, int(15 + 45 * strength))
    side = rng.uniform(0, 2 * np.pi)
    centers = centers[centers @ (np.cos(side), np.sin(side)) > rng.normal(-0.05, 0.15, len(centers))]
    mask = soft_step(draw_spots(rng, centers, rng.gamma(4, 0.006, len(centers)) + 0.008, 0.15), 1.4)
    canvas.stain(mask, BLACK, 0.4 + 0.7 * strength)


def streaks(canvas: Canvas, rng: Rng, strength: float) -> None:
    """Dark radial projections on parts of the border."""
    sheet, draw = new_sheet()
    sector, span = rng.uniform(0, 2 * np.pi), rng.uniform(1.2, 3.5)
    for start in canvas.places(rng, int(30 + 40 * strength), 0.0, 0.18):
        angle = np.arctan2(start[1], start[0])
        if abs((angle - sector + np.pi) % (2 * np.pi) - np.pi) < span / 2:
            outward = np.array([np.cos(angle), np.sin(angle)])
            middle = start + outward * rng.uniform(0.05, 0.12) + rng.normal(0, 0.012, 2)
            tip = middle + outward * rng.uniform(0.03, 0.1) + rng.normal(0, 0.012, 2)
            draw_stroke(draw, np.array([start - 0.06 * outward, start, middle]), rng.uniform(1.4, 2.6))
            draw_stroke(draw, np.array([middle, tip]), 1.0)
    canvas.stain(soft_step(as_plane(sheet), 1.5), np.add(BROWN, 0.15), 0.5 + 0.6 * strength)


def color_patches(canvas: Canvas, rng: Rng, strength: float) -> None:
    """Eccentric areas of further colors: dark brown, black, red."""
    for absorption, density in ((BROWN, 0.9), (BLACK, 0.9), (RED, 0.6)):
        patch = step(smooth_noise(rng, 4) + 0.2 * smooth_noise(rng, 14) - rng.uniform(0.3, 1.0), 0.6)
        canvas.stain(patch * step(canvas.depth - 0.03, 0.08), absorption, density * strength)


def blue_white_veil(canvas: Canvas, rng: Rng, strength: float) -> None:
    """Structureless blue area under a whitish haze, off the center."""
    center = canvas.places(rng, 1, 0.3, 0.75)
    if not len(center):
        return
    distance = np.hypot(X - center[0, 0], Y - center[0, 1]) / rng.uniform(0.22, 0.42) + 0.25 * smooth_noise(rng, 8)
    area = step(1 - distance, 0.6) * canvas.inside * (0.85 + 0.1 * smooth_noise(rng, 28))
    canvas.stain(area, np.add(BLUE_GRAY, 0.1), 0.3 + 0.6 * strength)
    canvas.cover(area * (0.25 + 0.35 * strength), (0.49, 0.52, 0.58))


def fingerprint_lines(canvas: Canvas, rng: Rng, strength: float) -> None:
    """Fine parallel brown lines that bend like a fingerprint."""
    turn = rng.uniform(0, math.pi)
    along = X * math.cos(turn) + Y * math.sin(turn) + 0.07 * smooth_noise(rng, 4) + 0.008 * smooth_noise(rng, 22)
    lines = step(np.sin(2 * np.pi * along / rng.uniform(0.075, 0.105)) + 0.3 * smooth_noise(rng, 30), 1.3)
    canvas.stain(lines * canvas.inside * patchy(rng), BROWN, 0.3 + 0.55 * strength)


def peppering(canvas: Canvas, rng: Rng, strength: float) -> None:
    """Fine gray dots, as in lichenoid regression."""
    centers = canvas.places(rng, int(60 + 160 * strength))
    dots = soft_step(draw_spots(rng, centers, rng.uniform(0.008, 0.016, len(centers))), 1.4)
    canvas.stain(dots * patchy(rng), BLUE_GRAY, 0.5 + 0.6 * strength)


def ovoid_nests(canvas: Canvas, rng: Rng, strength: float) -> None:
    """Well-defined blue-gray ovals and leaf-like clusters, confluent but separate from any network."""
    centers = canvas.places(rng, int(3 + 8 * strength), 0.08, min_distance=0.16)
    leaves = [center + rng.normal(0, 0.07, (rng.integers(1, 4), 2)) for center in centers]
    lobes = np.concatenate([*leaves, np.empty((0, 2))])
    mask = soft_step(draw_spots(rng, lobes, rng.uniform(0.04, 0.1, len(lobes)), 0.1, 2.2), 2.4)
    canvas.stain(mask * (0.9 + 0.2 * smooth_noise(rng, 26)), np.add(BLUE_GRAY, rng.normal(0, 0.06, 3)), 0.6 + 0.7 * strength)


# --- skin surface, scars and keratin -------------------------------------------------------------------------------------------


def white_scar(canvas: Canvas, rng: Rng, strength: float) -> None:
    """Central white scar-like patch."""
    area = step(canvas.depth - rng.uniform(0.42, 0.62) + 0.08 * smooth_noise(rng, 9) + 0.05 * smooth_noise(rng, 24), 0.25)
    canvas.cover(area * (0.3 + 0.45 * strength) * (0.85 + 0.12 * smooth_noise(rng, 20)).clip(0, 1), SCAR)


def strawberry(canvas: Canvas, rng: Rng, strength: float) -> None:
    """Red pseudo-network around pale follicles with yellowish plugs."""
    mesh = honeycomb_lines(rng, rng.uniform(0.18, 0.25), 0.04) + 0.4 * smooth_noise(rng, 14)
    net = (1 - step(mesh - 0.9, 1.3)) * (0.75 + 0.3 * smooth_noise(rng, 24)).clip(0.2, 1.5)
    canvas.stain(net * canvas.inside * patchy(rng), RED, 0.25 + 0.5 * strength)
    canvas.cover(step(mesh - 1.9, 0.8) * canvas.inside * (0.2 + 0.3 * strength), (0.93, 0.83, 0.72))


def scale(canvas: Canvas, rng: Rng, strength: float) -> None:
    """White flakes on the surface."""
    flakes = step(1.2 * smooth_noise(rng, 52) + 1.1 * smooth_noise(rng, 9) - 1.7, 1.0)
    canvas.cover(flakes * step(canvas.depth + 0.03, 0.15) * (0.15 + 0.5 * strength) * patchy(rng, 24), WHITE)


def keratin(canvas: Canvas, rng: Rng, strength: float) -> None:
    """Central yellow-white mass of keratin, cracked."""
    area = step(canvas.depth - rng.uniform(0.4, 0.6) + 0.1 * smooth_noise(rng, 9), 0.09)
    canvas.cover(area * (0.5 + 0.4 * strength), KERATIN + rng.normal(0, 0.03, 3))
    canvas.stain(area * (np.abs(smooth_noise(rng, 18)) + 0.5 * smooth_noise(rng, 45)), BROWN, 0.22)


def ulceration(canvas: Canvas, rng: Rng, strength: float) -> None:
    """A small eroded area under a red-brown crust."""
    center = canvas.places(rng, 1, 0.25)
    mask = soft_step(draw_spots(rng, center, np.full(len(center), 0.07 + 0.1 * strength), 0.2, 1.8), 1.8)
    canvas.cover(mask * (0.75 + 0.25 * smooth_noise(rng, 24)).clip(0, 1), CRUST)


def white_circles(canvas: Canvas, rng: Rng, strength: float) -> None:
    """White rings around follicles filled with keratin."""
    centers = canvas.places(rng, int(5 + 14 * strength), 0.1, min_distance=0.15)
    radii = rng.uniform(0.045, 0.065, len(centers))
    outer, inner = draw_spots(rng, centers, radii, 0.04), draw_spots(rng, centers, radii * 0.55, 0.04)
    canvas.cover((outer - inner).clip(0, 1) * (0.35 + 0.45 * strength), WHITE)
    canvas.cover(inner * 0.45, (0.84, 0.66, 0.44))


def milia(canvas: Canvas, rng: Rng, strength: float) -> None:
    """Milia-like cysts: bright white dots."""
    centers = canvas.places(rng, int(5 + 22 * strength), 0.1)
    mask = soft_step(draw_spots(rng, centers, rng.gamma(6, 0.0045, len(centers)) + 0.01), 1.6)
    canvas.cover((1.1 * mask).clip(0, 1) * (0.5 + 0.45 * strength), (0.96, 0.92, 0.84))


def comedo_openings(canvas: Canvas, rng: Rng, strength: float) -> None:
    """Comedo-like openings: dark brown plugs, sharply outlined."""
    centers = canvas.places(rng, int(4 + 14 * strength), 0.08, min_distance=0.12)
    mask = soft_step(draw_spots(rng, centers, rng.uniform(0.025, 0.06, len(centers)), 0.15, 1.8), 1.4)
    canvas.cover(mask * (0.55 + 0.35 * strength), np.array((0.25, 0.15, 0.09)) * rng.uniform(0.8, 1.5))


def fissures(canvas: Canvas, rng: Rng, strength: float) -> None:
    """Cerebriform surface: dark furrows between waxy ridges."""
    ridges = np.abs(smooth_noise(rng, int(rng.integers(9, 14))) + 0.15 * smooth_noise(rng, 34))
    furrows = (1 - step(ridges - 0.2, 0.35)) * patchy(rng)
    canvas.stain(furrows * step(canvas.depth - 0.04, 0.06), BROWN, 0.3 + 0.6 * strength)
    canvas.cover(step(ridges - 1.0, 0.8) * canvas.inside * 0.3, (0.84, 0.72, 0.56))


# --- vessels and blood ---------------------------------------------------------------------------------------------------------


def arborizing_vessels(canvas: Canvas, rng: Rng, strength: float) -> None:
    """Bright red trunks that branch into increasingly thin vessels, in focus."""
    sheet, draw = new_sheet()
    for start in canvas.places(rng, int(2 + 3 * strength), -0.05, 0.35, min_distance=0.3):
        inward = np.arctan2(-start[1], -start[0]) + rng.normal(0, 0.5)
        _branch(draw, rng, start, inward, 1.4 + 0.8 * strength)
    canvas.stain(as_plane(sheet) * patchy(rng), RED, 0.9 + 0.8 * strength)


def _branch(draw: ImageDraw.ImageDraw, rng: Rng, start: Plane, angle: float, width: float) -> None:
    """Draw a vessel `width` pixels thick and its thinner branches."""
    headings = angle + np.cumsum(rng.normal(0, 0.28, 6))
    steps = rng.uniform(0.035, 0.06) * np.column_stack([np.cos(headings), np.sin(headings)])
    path = np.vstack([start, start + np.cumsum(steps, axis=0)])
    draw_stroke(draw, path, width)
    if width > 0.7:
        _branch(draw, rng, path[-1], headings[-1] + rng.uniform(0.2, 0.5), width * rng.uniform(0.55, 0.8))
        _branch(draw, rng, path[-1], headings[-1] - rng.uniform(0.2, 0.5), width * rng.uniform(0.45, 0.7))
        if rng.random() < 0.5:
            _branch(draw, rng, path[3], headings[3] + rng.choice([-1, 1]) * rng.uniform(0.6, 1.1), width * 0.5)


def coiled_vessels(canvas: Canvas, rng: Rng, strength: float) -> None:
    """Glomerular vessels: clusters of small red coils near the border."""
    sheet, draw = new_sheet()
    turns = np.linspace(0, 3.4 * np.pi, 16)
    for center in canvas.places(rng, int(10 + 22 * strength), 0.03, 0.45, min_distance=0.09):
        reach = rng.uniform(0.025, 0.042) * turns / turns[-1] + 0.006
        spiral = np.column_stack([np.cos(turns + rng.uniform(0, 6)), np.sin(turns)]) * reach[:, None]
        draw_stroke(draw, center + spiral, 0.8)
    canvas.stain(as_plane(sheet), RED, 0.7 + 0.7 * strength)


def hairpin_vessels(canvas: Canvas, rng: Rng, strength: float) -> None:
    """Red loops that stand radially at the border, with a whitish halo."""
    sheet, draw = new_sheet()
    bend = np.linspace(0, np.pi, 7)
    for base in canvas.places(rng, int(8 + 16 * strength), 0.02, 0.35, min_distance=0.1):
        outward = base / max(float(np.hypot(*base)), 1e-3)
        aside = np.array([-outward[1], outward[0]])
        loop = np.outer(0.022 * np.cos(bend), aside) + np.outer(0.03 + 0.03 * np.sin(bend), outward)
        legs = rng.uniform(0.03, 0.09, (2, 1)) * outward
        draw_stroke(draw, base + np.vstack([loop[0] - legs[0], loop, loop[-1] - legs[1]]) + rng.normal(0, 0.006, (9, 2)), 0.9)
    lines = as_plane(sheet)
    canvas.cover(0.35 * soft_step(lines, 4), WHITE)
    canvas.stain(lines, RED, 0.8 + 0.7 * strength)


def blood_spots(canvas: Canvas, rng: Rng, strength: float) -> None:
    """Dried blood: dark red specks of all sizes."""
    centers = canvas.places(rng, int(3 + 9 * strength), 0.1)
    mask = soft_step(draw_spots(rng, centers, rng.gamma(3, 0.012, len(centers)) + 0.01, 0.2, 1.8), 1.4)
    canvas.cover(mask * 0.85, (0.34, 0.07, 0.06))


def lacunae(canvas: Canvas, rng: Rng, strength: float) -> None:
    """Red, purple or black lagoons, well demarcated, between pale septa."""
    centers = canvas.places(rng, int(8 + 26 * strength), 0.08, min_distance=rng.uniform(0.11, 0.2))
    hues = rng.choice(3, size=len(centers), p=rng.dirichlet((3.0, 2.0, 0.8)))
    radii = rng.uniform(0.05, 0.13, len(centers))
    for hue, (absorption, density) in enumerate(((RED, 1.8), (PURPLE, 1.5), (np.add(PURPLE, 0.4), 1.5))):
        chosen = hues == hue
        lagoons = draw_spots(rng, centers[chosen], radii[chosen], 0.03, 1.5)
        # Blood is deepest in the middle of a lagoon, so its edge is lighter.
        mask = (0.5 * soft_step(lagoons, 1.5) + 0.7 * soft_step(lagoons, 7) * lagoons) * (1 + 0.12 * smooth_noise(rng, 22))
        canvas.stain(mask, absorption, density * (0.45 + 0.55 * strength))


STRUCTURES: dict[str, Callable[[Canvas, Rng, float], None]] = {
    structure.__name__: structure
    for structure in (
        color_patches, pigment_network, atypical_network, peripheral_network, fingerprint_lines, globules, peppering,
        irregular_dots, streaks, ovoid_nests, blue_white_veil, lacunae, strawberry, white_scar, fissures, arborizing_vessels,
        coiled_vessels, hairpin_vessels, ulceration, keratin, white_circles, comedo_openings, milia, blood_spots, scale,
    )
}  # fmt: skip
