"""Names and ids of a patient that tests plant in a source, and look for in everything that is written from it."""

import io
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from PIL import ExifTags, Image, PngImagePlugin

from tests.support.images import encoded

NAME, MRN, BIRTH_DATE, ACCESSION = "Mustermann-Planted", "MRN-081547", "1950-03-12", "ACC-77-19"
PLANTED = (NAME, MRN, BIRTH_DATE, ACCESSION)


def exif() -> Image.Exif:
    """EXIF that names the patient."""
    tags = Image.Exif()
    tags[ExifTags.Base.Artist], tags[ExifTags.Base.ImageDescription] = NAME, f"{MRN}, born {BIRTH_DATE}"
    tags[ExifTags.Base.Orientation] = 3
    return tags


def with_exif(jpeg: bytes) -> bytes:
    """A JPEG of Pillow with EXIF and a comment that name the patient; its pixels stay as they are."""
    content = exif().tobytes()
    end = 4 + int.from_bytes(jpeg[4:6])
    segments = ((0xE1, content), (0xFE, f"{NAME} {ACCESSION}".encode()))
    return jpeg[:end] + b"".join(bytes([0xFF, marker]) + (len(one) + 2).to_bytes(2) + one for marker, one in segments) + jpeg[end:]


def png_with_text(image: Image.Image) -> bytes:
    """A PNG with text and EXIF that name the patient."""
    text = PngImagePlugin.PngInfo()
    text.add_text("Patient", NAME)
    text.add_itxt("Comment", MRN, zip=True)
    return encoded(image, "PNG", pnginfo=text, exif=exif())


def found_in(root: Path, words: Iterable[str] = PLANTED) -> list[str]:
    """The files of a folder whose name or content has one of the words, in any of the encodings that files of this project use."""
    sought = {word: (word.encode(), word.encode("utf-16-le")) for word in words}
    found = []
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        contents = [name.encode()]
        if path.is_file() and not path.is_symlink():
            contents.append(path.read_bytes())
            if path.suffix == ".parquet":
                contents.append(pd.read_parquet(path).to_csv().encode())
            elif path.suffix == ".png":
                contents += [repr(Image.open(io.BytesIO(contents[1])).info).encode()]
        found += [f"{name}: {word}" for word, forms in sought.items() for content in contents if any(form in content for form in forms)]
    return found
