"""A synthetic sample: procedural dermoscopy of the nine diagnoses, so that a fresh clone has something to learn from.

The images stand in for a dataset that cannot be shipped. They show the structures by which dermatologists tell the diagnoses apart, but no
patient, and nothing measured on them says anything about skin. The same seed gives the same files, byte for byte, on one installation.

    python -m components.sample OUT_DIR [--seed N] [--size PX] [--force]
"""

import argparse
import csv
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from tqdm import tqdm

from components.classes import CLASSES
from components.dermoscopy import BROWN, CANVAS, PIXELS_PER_UNIT, RED, STRUCTURES, Canvas, Rng, border, skin, smooth_noise, step

# Unequal on purpose, as in every clinic; the rarest still fills five folds of a lesion-wise split.
LESIONS_PER_CLASS: dict[str, int] = {
    "actinic_keratosis": 52,
    "basal_cell_carcinoma": 62,
    "dermatofibroma": 40,
    "melanoma": 68,
    "nevus": 75,
    "pigmented_benign_keratosis": 55,
    "seborrheic_keratosis": 60,
    "squamous_cell_carcinoma": 48,
    "vascular_lesion": 42,
}
IMAGES_PER_LESION = (0.68, 0.24, 0.08)  # how often a lesion has one, two or three images
METADATA_COLUMNS = ("isic_id", "filename", "diagnosis", "lesion_id", "collection", "license")

Range = tuple[float, float]


@dataclass(frozen=True)
class Lesion:
    """What a lesion is, whoever photographs it. Strengths run from 0 (absent) to 1 (marked).

    Attributes:
        seed: places its structures; the same seed draws the same lesion.
        skin_tone: 0 very light to 1 very dark.
        radius: half its mean diameter, in units of the canvas.
        elongation: long axis over short axis.
        irregularity, notches: lobes and moth-eaten bites of the border.
        softness: width of the border, as a fraction of the radius.
        asymmetry: how much more pigment one side holds.
        pigment, redness: density of melanin and of blood in the ground.
        structures: (name, strength) of each structure present, deepest first.
    """

    diagnosis: str
    seed: int
    skin_tone: float
    radius: float
    elongation: float
    irregularity: float
    notches: float
    softness: float
    asymmetry: float
    pigment: float
    redness: float
    structures: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Profile:
    """How a diagnosis usually looks: ranges of the ground, and how often each structure is seen."""

    pigment: Range
    redness: Range
    irregularity: Range
    softness: Range
    asymmetry: Range
    often: Mapping[str, float]
    notches: Range = (0.0, 0.0)


PROFILES: dict[str, Profile] = {
    "actinic_keratosis": Profile(
        pigment=(0.0, 0.15), redness=(0.15, 0.4), irregularity=(0.3, 0.8), softness=(0.15, 0.35), asymmetry=(0.0, 0.4),
        often={"strawberry": 0.98, "scale": 0.75, "coiled_vessels": 0.06, "keratin": 0.03, "peppering": 0.05},
    ),
    "basal_cell_carcinoma": Profile(
        pigment=(0.0, 0.15), redness=(0.08, 0.35), irregularity=(0.2, 0.6), softness=(0.1, 0.3), asymmetry=(0.1, 0.5),
        often={"arborising_vessels": 0.95, "ovoid_nests": 0.88, "ulceration": 0.35, "milia": 0.08, "scale": 0.08, "blue_white_veil": 0.05},
    ),
    "dermatofibroma": Profile(
        pigment=(0.12, 0.4), redness=(0.0, 0.2), irregularity=(0.05, 0.3), softness=(0.15, 0.4), asymmetry=(0.0, 0.2),
        often={"white_scar": 0.96, "peripheral_network": 0.93, "globules": 0.06, "arborising_vessels": 0.03},
    ),
    "melanoma": Profile(
        pigment=(0.4, 1.0), redness=(0.0, 0.3), irregularity=(0.5, 1.0), softness=(0.04, 0.15), asymmetry=(0.5, 1.0),
        often={"colour_patches": 0.92, "atypical_network": 0.85, "streaks": 0.65, "blue_white_veil": 0.72, "irregular_dots": 0.72,
               "peppering": 0.2, "ulceration": 0.05, "milia": 0.04},
    ),
    "nevus": Profile(
        pigment=(0.25, 0.75), redness=(0.0, 0.15), irregularity=(0.0, 0.3), softness=(0.08, 0.3), asymmetry=(0.0, 0.3),
        often={"pigment_network": 0.78, "globules": 0.5, "milia": 0.04, "irregular_dots": 0.06, "colour_patches": 0.08},
    ),
    "pigmented_benign_keratosis": Profile(
        pigment=(0.25, 0.7), redness=(0.0, 0.1), irregularity=(0.3, 0.7), softness=(0.02, 0.06), asymmetry=(0.0, 0.4), notches=(0.4, 1.0),
        often={"fingerprint_lines": 0.94, "peppering": 0.25, "milia": 0.06, "globules": 0.04},
    ),
    "seborrheic_keratosis": Profile(
        pigment=(0.3, 0.9), redness=(0.0, 0.15), irregularity=(0.1, 0.5), softness=(0.02, 0.06), asymmetry=(0.0, 0.4),
        often={"milia": 0.9, "comedo_openings": 0.9, "fissures": 0.8, "hairpin_vessels": 0.07, "blue_white_veil": 0.04},
    ),
    "squamous_cell_carcinoma": Profile(
        pigment=(0.0, 0.15), redness=(0.2, 0.5), irregularity=(0.2, 0.6), softness=(0.08, 0.25), asymmetry=(0.0, 0.4),
        often={"keratin": 0.94, "white_circles": 0.6, "coiled_vessels": 0.5, "hairpin_vessels": 0.5, "scale": 0.35, "blood_spots": 0.55,
               "ulceration": 0.1},
    ),
    "vascular_lesion": Profile(
        pigment=(0.0, 0.05), redness=(0.15, 0.6), irregularity=(0.05, 0.35), softness=(0.04, 0.2), asymmetry=(0.0, 0.3),
        often={"lacunae": 0.97, "scale": 0.08, "blood_spots": 0.1},
    ),
}  # fmt: skip


def draw_lesion(diagnosis: str, rng: Rng) -> Lesion:
    """A lesion of the given diagnosis: structures vary in strength, and some are absent."""
    profile = PROFILES[diagnosis]
    present = [name for name in STRUCTURES if rng.random() < profile.often.get(name, 0.0)]
    return Lesion(
        diagnosis=diagnosis,
        seed=int(rng.integers(2**62)),
        skin_tone=float(rng.beta(1.1, 2.2)),
        radius=float(rng.uniform(0.42, 0.64)),
        elongation=float(rng.uniform(1.0, 1.5)),
        irregularity=float(rng.uniform(*profile.irregularity)),
        notches=float(rng.uniform(*profile.notches)),
        softness=float(rng.uniform(*profile.softness)),
        asymmetry=float(rng.uniform(*profile.asymmetry)),
        pigment=float(rng.uniform(*profile.pigment)),
        redness=float(rng.uniform(*profile.redness)),
        structures=tuple((name, 0.25 + 0.75 * float(rng.beta(2.0, 1.3))) for name in present),
    )


def paint(lesion: Lesion) -> NDArray[np.uint8]:
    """The lesion and the skin around it, before anybody photographs it; shape (CANVAS, CANVAS, 3)."""
    rng = np.random.default_rng(lesion.seed)
    depth = border(rng, lesion.radius, lesion.elongation, lesion.irregularity, lesion.notches)
    canvas = Canvas(skin(rng, lesion.skin_tone), depth, step(depth, lesion.softness))
    uneven = 1 + lesion.asymmetry * (0.45 * smooth_noise(rng, 2) + 0.25 * smooth_noise(rng, 4))
    uneven = uneven + 0.12 * smooth_noise(rng, 10) + 0.08 * smooth_noise(rng, 24) + 0.08 * smooth_noise(rng, 60)
    uneven = uneven * (0.75 + 0.35 * depth.clip(0, 0.8))
    canvas.stain(canvas.inside * uneven.clip(0.15, 2.5), BROWN + rng.normal(0, 0.08, 3), lesion.pigment)
    canvas.stain(canvas.inside * uneven.clip(0.15, 2.5), RED, lesion.redness)
    for name, strength in lesion.structures:
        STRUCTURES[name](canvas, rng, strength)
    return (canvas.rgb.clip(0, 1) * 255).astype(np.uint8)


def render(lesion: Lesion, size: int, rng: Rng) -> NDArray[np.uint8]:
    """One photograph of a lesion; uint8, shape (size, size, 3). `rng` decides the view, the light and what lies in front."""
    return photograph(paint(lesion), size, rng)


def photograph(painting: NDArray[np.uint8], size: int, rng: Rng) -> NDArray[np.uint8]:
    """A view of a painting through a dermatoscope; uint8, shape (size, size, 3)."""
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
    """The painting turned, shifted and zoomed."""
    margin = 40  # mirrored skin, for the corners that a turned view would otherwise miss
    source = Image.fromarray(np.pad(painting, ((margin, margin), (margin, margin), (0, 0)), mode="reflect"))
    turn, zoom = rng.uniform(0, 2 * np.pi), rng.uniform(1.2, 1.5)
    pitch = 2 * PIXELS_PER_UNIT / (size * zoom)
    cos, sin = pitch * np.cos(turn), pitch * np.sin(turn)
    centre = CANVAS / 2 + margin + rng.uniform(-0.1, 0.1, 2) * PIXELS_PER_UNIT
    offset = centre - size / 2 * np.array([cos - sin, sin + cos])
    return source.transform((size, size), Image.Transform.AFFINE, (cos, -sin, offset[0], sin, cos, offset[1]), Image.Resampling.BICUBIC)


def _hairs(view: Image.Image, rng: Rng) -> None:
    """Hairs across the view: mostly dark, sometimes fair."""
    size, scale = view.width, 3
    mask = Image.new("L", (size * scale, size * scale))
    draw = ImageDraw.Draw(mask)
    lean, time = rng.uniform(0, np.pi), np.linspace(0, 1, 9)[:, None]
    for _ in range(rng.integers(1, 9)):
        angle = lean + rng.normal(0, 0.5)
        direction = np.array([np.cos(angle), np.sin(angle)]) * rng.uniform(0.4, 1.0)
        middle = rng.uniform(0, 1, 2)
        start, bend, end = middle - direction, middle + rng.normal(0, 0.15, 2), middle + direction
        curve = ((1 - time) ** 2 * start + 2 * time * (1 - time) * bend + time**2 * end) * size * scale
        shade, width = int(rng.uniform(120, 235)), round(rng.uniform(0.7, 1.6) * scale * size / 128)
        draw.line([(x, y) for x, y in curve.tolist()], fill=shade, width=max(1, width))
    colour = (40, 28, 22) if rng.random() < 0.75 else (214, 190, 150)
    view.paste(colour, mask=mask.reduce(scale))


def _ruler(view: Image.Image, rng: Rng) -> None:
    """Millimetre marks of a contact plate along one edge."""
    draw, size = ImageDraw.Draw(view), view.width
    spacing, row, on_side = size * rng.uniform(0.06, 0.1), size * rng.uniform(0.9, 0.97), rng.random() < 0.5
    for index in range(int(size / spacing) + 1):
        length = size * (0.07 if index % 5 == 0 else 0.035)
        ends = [(index * spacing, row), (index * spacing, row - length)]
        draw.line([(y, x) for x, y in ends] if on_side else ends, fill=(35, 35, 40), width=1)


def _unit_grid(size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    return np.meshgrid(axis, axis)


def _light(pixels: NDArray[np.float32], rng: Rng) -> NDArray[np.float32]:
    """Exposure, white balance and light that falls off to one side."""
    x, y = _unit_grid(len(pixels))
    slope = 1 + rng.normal(0, 0.06) * x + rng.normal(0, 0.06) * y
    balance = rng.normal(1, 0.04, 3) * rng.uniform(0.85, 1.12)
    return pixels * slope[..., None] * balance.astype(np.float32)


def _bubbles(pixels: NDArray[np.float32], rng: Rng) -> NDArray[np.float32]:
    """Bubbles in the gel: faint bright rims, each with a highlight."""
    x, y = _unit_grid(len(pixels))
    for _ in range(rng.integers(1, 5)):
        (cx, cy), radius = rng.uniform(-0.9, 0.9, 2), rng.uniform(0.03, 0.13)
        distance = np.hypot(x - cx, y - cy) / radius
        rim = np.exp(-(((distance - 1) / 0.2) ** 2)) * 0.25
        glint = np.exp(-(np.hypot(x - cx + 0.4 * radius, y - cy + 0.4 * radius) ** 2) / (0.05 * radius**2 + 2e-4)) * 0.8
        pixels = pixels + np.maximum(rim, glint)[..., None] * (250 - pixels)
    return pixels


def _vignette(pixels: NDArray[np.float32], rng: Rng) -> NDArray[np.float32]:
    """The round dark edge of the dermatoscope's field."""
    x, y = _unit_grid(len(pixels))
    cx, cy = rng.normal(0, 0.04, 2)
    bright = step(rng.uniform(1.02, 1.25) - np.hypot(x - cx, y - cy), rng.uniform(0.02, 0.12))
    return pixels * (0.05 + 0.95 * bright)[..., None]


def write_dataset(
    folder: Path, lesions_per_class: Mapping[str, int], seed: int = 0, size: int = 128, quality: int = 90, force: bool = False
) -> int:
    """Write `<folder>/<class>/<id>.jpg` and `<folder>/metadata.csv`; the folder appears complete or not at all.

    Args:
        lesions_per_class: lesions of each diagnosis; a lesion of one class does not depend on how many the others have.
        size: pixels a side.
        quality: of the JPEG files, 1 to 95.
        force: replace an earlier sample.

    Returns:
        The number of images.

    Raises:
        FileExistsError: if the folder exists and is not to be replaced, or holds something other than a sample.
    """
    if folder.exists() and not (force and _is_sample(folder)):
        reason = "is not a sample that this command wrote" if force else "exists; --force replaces an earlier sample"
        raise FileExistsError(f"{folder} {reason}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    try:
        rows = _write_images(partial, lesions_per_class, seed, size, quality)
        with (partial / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([METADATA_COLUMNS, *rows])
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return len(rows)


def _is_sample(folder: Path) -> bool:
    """Whether a folder holds synthetic images only, so that nothing is lost by replacing it."""
    try:
        with (folder / "metadata.csv").open(newline="", encoding="utf-8") as file:
            return {row.get("collection") for row in csv.DictReader(file)} == {"synthetic"}
    except OSError:
        return False


def _write_images(folder: Path, lesions_per_class: Mapping[str, int], seed: int, size: int, quality: int) -> list[tuple[str, ...]]:
    """Write every image; returns the rows of metadata.csv."""
    rows: list[tuple[str, ...]] = []
    work = [(diagnosis, number) for diagnosis in CLASSES for number in range(lesions_per_class.get(diagnosis, 0))]
    for count, (diagnosis, number) in enumerate(tqdm(work, desc="drawing lesions", unit="lesion", mininterval=1), start=1):
        rng = np.random.default_rng([seed, CLASSES.index(diagnosis), number])
        painting = paint(draw_lesion(diagnosis, rng))
        for _ in range(rng.choice(len(IMAGES_PER_LESION), p=IMAGES_PER_LESION) + 1):
            name = f"SYN_{len(rows) + 1:07d}"
            path = folder / diagnosis / f"{name}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(photograph(painting, size, rng)).save(path, quality=quality, optimize=True)
            rows.append((name, f"{diagnosis}/{name}.jpg", diagnosis, f"SYL_{count:05d}", "synthetic", "CC0-1.0"))
    return rows


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m components.sample", description="Write a synthetic dermoscopy sample.")
    parser.add_argument("folder", type=Path, metavar="OUT_DIR", help="folder to write: one subfolder per diagnosis, and metadata.csv")
    parser.add_argument("--seed", type=int, default=0, help="another seed draws other lesions (default: %(default)s)")
    parser.add_argument("--size", type=int, default=128, metavar="PX", help="pixels a side (default: %(default)s)")
    parser.add_argument("--force", action="store_true", help="replace an earlier sample in OUT_DIR")
    options = parser.parse_args(arguments)
    if options.size < 32:
        parser.error(f"--size must be at least 32 pixels; got {options.size}")
    try:
        count = write_dataset(options.folder, LESIONS_PER_CLASS, options.seed, options.size, force=options.force)
    except FileExistsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{count} images of {sum(LESIONS_PER_CLASS.values())} lesions in {options.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
