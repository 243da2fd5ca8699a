"""Generators of small test images."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def noise(seed: int, size: int = 64) -> Image.Image:
    """A smooth random image; images of different seeds do not resemble each other."""
    grid = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC)


def textured(seed: int, width: int = 200, height: int = 150) -> Image.Image:
    """A random image with structure at every scale, like a clinical image; images of different seeds do not resemble each other."""
    random, image = np.random.default_rng(seed), np.zeros((height, width, 3))
    for cells in (4, 8, 16, 32, 64):
        layer = Image.fromarray(random.integers(0, 256, (cells, cells, 3), dtype=np.uint8)).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        image += (np.asarray(layer) - 127.5) / cells**0.5
    return Image.fromarray(np.clip(120 + image * 0.7, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, image_format: str = "JPEG", **options: object) -> bytes:
    """The image as the bytes of a file."""
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG whose header declares a size that its pixel data does not have."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0" * 64))]
    body = b"".join(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + body
