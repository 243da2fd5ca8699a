"""Small images that tests make."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def noise(seed: int, size: int = 64) -> Image.Image:
    """A smooth picture that no other seed's resembles."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)


def textured(seed: int, width: int = 200, height: int = 150) -> Image.Image:
    """A picture with structure at every scale, as a photograph has, that no other seed's resembles."""
    random, image = np.random.default_rng(seed), np.zeros((height, width, 3))
    for cells in (4, 8, 16, 32, 64):
        layer = Image.fromarray(random.integers(0, 256, (cells, cells, 3), dtype=np.uint8)).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        image += (np.asarray(layer) - 127.5) / cells**0.5
    return Image.fromarray(np.clip(120 + image * 0.7, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, form: str = "JPEG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0" * 64))]
    body = b"".join(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + body
