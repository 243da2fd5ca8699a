"""Random lesions of each class: size, border, colors and structures."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.synthetic.canvas import BROWN, RED, Canvas, Rng, border, skin, smooth_noise, step
from components.synthetic.structures import STRUCTURES

Range = tuple[float, float]


@dataclass(frozen=True)
class Lesion:
    """The properties of a lesion, independent of how it is imaged. Strengths are 0 (absent) to 1 (marked).

    Attributes:
        seed: seed of the structures; the same seed gives the same lesion.
        skin_tone: 0 very light to 1 very dark.
        radius: half its mean diameter, in units of the canvas.
        elongation: long axis over short axis.
        irregularity, notches: strength of lobes and of notches of the border.
        softness: width of the border, as a fraction of the radius.
        asymmetry: difference in pigment between the sides.
        pigment, redness: density of melanin and of blood outside structures.
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
    """The appearance of a diagnosis: ranges of attributes, and the frequency of each structure in `often`."""

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
        often={"arborizing_vessels": 0.95, "ovoid_nests": 0.88, "ulceration": 0.35, "milia": 0.08, "scale": 0.08, "blue_white_veil": 0.05},
    ),
    "dermatofibroma": Profile(
        pigment=(0.12, 0.4), redness=(0.0, 0.2), irregularity=(0.05, 0.3), softness=(0.15, 0.4), asymmetry=(0.0, 0.2),
        often={"white_scar": 0.96, "peripheral_network": 0.93, "globules": 0.06, "arborizing_vessels": 0.03},
    ),
    "melanoma": Profile(
        pigment=(0.4, 1.0), redness=(0.0, 0.3), irregularity=(0.5, 1.0), softness=(0.04, 0.15), asymmetry=(0.5, 1.0),
        often={"color_patches": 0.92, "atypical_network": 0.85, "streaks": 0.65, "blue_white_veil": 0.72, "irregular_dots": 0.72,
               "peppering": 0.2, "ulceration": 0.05, "milia": 0.04},
    ),
    "nevus": Profile(
        pigment=(0.25, 0.75), redness=(0.0, 0.15), irregularity=(0.0, 0.3), softness=(0.08, 0.3), asymmetry=(0.0, 0.3),
        often={"pigment_network": 0.78, "globules": 0.5, "milia": 0.04, "irregular_dots": 0.06, "color_patches": 0.08},
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
    """Draw a lesion of a diagnosis, with random attributes, structures and strengths."""
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
    """Paint the lesion and the surrounding skin; uint8, shape (CANVAS, CANVAS, 3)."""
    rng = np.random.default_rng(lesion.seed)
    depth = border(rng, lesion.radius, lesion.elongation, lesion.irregularity, lesion.notches)
    canvas = Canvas(skin(rng, lesion.skin_tone), depth, step(depth, lesion.softness))
    pigmentation = 1 + lesion.asymmetry * (0.45 * smooth_noise(rng, 2) + 0.25 * smooth_noise(rng, 4))
    pigmentation = pigmentation + 0.12 * smooth_noise(rng, 10) + 0.08 * smooth_noise(rng, 24) + 0.08 * smooth_noise(rng, 60)
    pigmentation = pigmentation * (0.75 + 0.35 * depth.clip(0, 0.8))
    canvas.stain(canvas.inside * pigmentation.clip(0.15, 2.5), BROWN + rng.normal(0, 0.08, 3), lesion.pigment)
    canvas.stain(canvas.inside * pigmentation.clip(0.15, 2.5), RED, lesion.redness)
    for name, strength in lesion.structures:
        STRUCTURES[name](canvas, rng, strength)
    return (canvas.rgb.clip(0, 1) * 255).astype(np.uint8)
