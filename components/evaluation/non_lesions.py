"""Makes pictures that show no lesion, to measure whether a model notices. Equal seeds give equal pictures."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIZE = (320, 240)
"""Width and height in pixels of pictures that are not made from another one."""
TILES = 4
"""Tiles along each side of a picture that is cut up and shuffled."""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

Levels = NDArray[np.floating]
Make = Callable[[Generator, Image.Image], Image.Image]
"""A function from a random generator and an image of a lesion to a picture that shows none."""


def as_image(levels: Levels) -> Image.Image:
    """The picture of gray levels or colors, shape (height, width) or (height, width, 3), clipped to 0 to 255."""
    clipped = np.clip(levels, 0, 255).astype(np.uint8)
    return Image.fromarray(clipped).convert("RGB")


def any_color(random: Generator) -> tuple[int, int, int]:
    """A random color."""
    red, green, blue = random.integers(0, 256, 3).tolist()
    return red, green, blue


def noise(random: Generator, _: Image.Image) -> Image.Image:
    """Each pixel another color."""
    return as_image(random.integers(0, 256, (SIZE[1], SIZE[0], 3)).astype(float))


def clouds(random: Generator, _: Image.Image) -> Image.Image:
    """A few soft colors that run into each other."""
    grid = random.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(grid).resize(SIZE, Image.Resampling.BICUBIC)


def one_color(random: Generator, _: Image.Image) -> Image.Image:
    """One color, with the noise of a sensor."""
    return as_image(random.normal(any_color(random), 2, (SIZE[1], SIZE[0], 3)))


def gradient(random: Generator, _: Image.Image) -> Image.Image:
    """From one color to another, at any angle."""
    first, second, angle = np.array(any_color(random)), np.array(any_color(random)), random.uniform(0, 2 * np.pi)
    along = np.cos(angle) * np.linspace(-1, 1, SIZE[0])[None] + np.sin(angle) * np.linspace(-1, 1, SIZE[1])[:, None]
    share = (along - along.min()) / np.ptp(along)
    return as_image(first + share[..., None] * (second - first) + random.normal(0, 1, (SIZE[1], SIZE[0], 3)))


def text_page(random: Generator, _: Image.Image) -> Image.Image:
    """Lines of dark words on paper, under warm or cold light."""
    paper, ink = tuple(random.integers(215, 250, 3).tolist()), tuple(random.integers(10, 70, 3).tolist())
    page = Image.new("RGB", SIZE, paper)
    draw = ImageDraw.Draw(page)
    for top in range(12, SIZE[1] - 12, 14):
        words = ["".join(random.choice(list(LETTERS.lower()), random.integers(2, 9))) for _ in range(7)]
        draw.text((14, top), " ".join(words), fill=ink)
    return as_image(np.asarray(page, dtype=float) + random.normal(0, 2, (SIZE[1], SIZE[0], 1)))


def keyboard(random: Generator, _: Image.Image) -> Image.Image:
    """Keys with a letter each, on a grid."""
    keys = Image.new("RGB", SIZE, tuple(random.integers(20, 70, 3).tolist()))
    draw, color, pitch = ImageDraw.Draw(keys), tuple(random.integers(150, 230, 3).tolist()), int(random.integers(26, 38))
    for top in range(8, SIZE[1], pitch):
        for left in range(8, SIZE[0], pitch):
            draw.rectangle((left, top, left + pitch - 7, top + pitch - 7), fill=color)
            draw.text((left + 7, top + 5), str(random.choice(list(LETTERS))), fill=(30, 30, 30))
    return as_image(np.asarray(keys, dtype=float) + random.normal(0, 2, (SIZE[1], SIZE[0], 3)))


def black_with_circle(random: Generator, _: Image.Image) -> Image.Image:
    """A bright disk on black, as through a tube."""
    picture = Image.new("RGB", SIZE)
    radius, left, top = int(random.integers(40, 100)), int(random.integers(60, 120)), int(random.integers(20, 60))
    ImageDraw.Draw(picture).ellipse((left, top, left + 2 * radius, top + 2 * radius), fill=any_color(random))
    return as_image(np.asarray(picture, dtype=float) + random.normal(2, 2, (SIZE[1], SIZE[0], 3)))


def landscape(random: Generator, _: Image.Image) -> Image.Image:
    """Sky, sun, hills and a meadow."""
    sky = np.linspace((90, 150, 230), (200, 220, 245), SIZE[1])[:, None] + np.zeros((1, SIZE[0], 1))
    picture = as_image(sky + random.normal(0, 3, (SIZE[1], SIZE[0], 3)))
    draw, left = ImageDraw.Draw(picture), int(random.integers(20, 260))
    draw.ellipse((left, 20, left + 36, 56), fill=(255, 240, 170))
    for level, color in ((110, (96, 116, 120)), (150, (70, 110, 70)), (190, (90, 150, 60))):
        phase, waves = random.uniform(0, 2 * np.pi), random.uniform(1, 4)
        tops = level + 18 * np.sin(phase + waves * np.linspace(0, 2 * np.pi, SIZE[0]))
        draw.polygon([(0, SIZE[1]), *zip(range(SIZE[0]), tops.tolist(), strict=True), (SIZE[0], SIZE[1])], fill=color)
    return as_image(np.asarray(picture, dtype=float) + random.normal(0, 6, (SIZE[1], SIZE[0], 3)))


def lens_cap(random: Generator, _: Image.Image) -> Image.Image:
    """Nearly black, with the noise of a sensor."""
    return as_image(np.abs(random.normal(0, 4, (SIZE[1], SIZE[0], 3))))


def checked_cloth(random: Generator, _: Image.Image) -> Image.Image:
    """Stripes of two colors that cross."""
    first, second, width = np.array(any_color(random)), np.array(any_color(random)), int(random.integers(6, 24))
    stripes = [np.arange(length) // width % 2 for length in (SIZE[1], SIZE[0])]
    share = (stripes[0][:, None] + stripes[1][None]) / 2
    return as_image(first + share[..., None] * (second - first) + random.normal(0, 8, (SIZE[1], SIZE[0], 3)))


def shuffled_tiles(random: Generator, image: Image.Image) -> Image.Image:
    """The image of a lesion, cut into tiles that are shuffled."""
    width, height = image.width // TILES, image.height // TILES
    boxes = [(left * width, top * height) for top in range(TILES) for left in range(TILES)]
    picture = Image.new("RGB", (width * TILES, height * TILES))
    for place, number in zip(boxes, random.permutation(len(boxes)), strict=True):
        left, top = boxes[number]
        picture.paste(image.crop((left, top, left + width, top + height)), place)
    return picture


def negative(_: Generator, image: Image.Image) -> Image.Image:
    """The image of a lesion with inverted colors."""
    return as_image(255 - np.asarray(image, dtype=float))


def blue_cast(random: Generator, image: Image.Image) -> Image.Image:
    """The image of a lesion under blue light."""
    return as_image(np.asarray(image, dtype=float) * (0.45, 0.6, 1.0) + (0, 0, random.uniform(20, 50)))


KINDS: dict[str, Make] = {
    "noise": noise,
    "clouds": clouds,
    "one_color": one_color,
    "gradient": gradient,
    "text_page": text_page,
    "keyboard": keyboard,
    "black_with_circle": black_with_circle,
    "landscape": landscape,
    "lens_cap": lens_cap,
    "checked_cloth": checked_cloth,
    "shuffled_tiles": shuffled_tiles,
    "negative": negative,
    "blue_cast": blue_cast,
}
