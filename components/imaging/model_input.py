"""The size and the resolution at which a model sees images."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelInput:
    """What a model sees of an image.

    `size`: width and height in pixels. `resolution`: pixels that the center square is downsampled to first, or None.
    """

    size: int
    resolution: int | None
