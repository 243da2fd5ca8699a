"""Real images, which are not in the repository."""

import zipfile

import pytest

from tests.support.project import ROOT

ARCHIVE = ROOT.parent / "shared/data/isic9.zip"


def real_images(count: int) -> list[bytes]:
    """The bytes of images from all parts of the archive; skips the test where it is not there."""
    if not ARCHIVE.exists():
        pytest.skip(f"{ARCHIVE} is not there")
    with zipfile.ZipFile(ARCHIVE) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        return [archive.read(name) for name in names[:: len(names) // count][:count]]
