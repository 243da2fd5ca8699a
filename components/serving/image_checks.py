"""Tells a dermoscopic image from white walls, keyboards and single pixels, by what `validate` measures."""

from PIL import Image

from components.core.reports.index_contents import ImageLimits
from components.imaging.appearance import appearance, problem


def why_not_dermoscopic(image: Image.Image, limits: ImageLimits) -> str | None:
    """What of an RGB image is beyond the limits, or None.

    Args:
        image: decoded, whole.
        limits: of its dataset.
    """
    if min(image.size) < limits.min_side:
        return f"{image.width} x {image.height} px is smaller than {limits.min_side} px a side"
    found = problem(appearance(image), limits.min_contrast, limits.max_dominant_color_fraction)
    return found.message if found else None
