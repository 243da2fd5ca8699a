"""Fixtures for every test: small images, small datasets, the params of the repository."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from components.core.classes import CLASSES
from components.runtime.params import Settings
from components.runtime.params_file import parse
from tests.lab import lab
from tests.project import ROOT, built, project

__all__ = ["ROOT", "built", "lab", "project"]

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


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


@pytest.fixture
def params() -> dict:
    """The repository's params.yaml as a mapping that a test may change."""
    return yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def settings(params: dict) -> Settings:
    """The repository's settings."""
    return parse(params)


@pytest.fixture
def make_dataset() -> Callable[..., Path]:
    """Write a dataset of distinct smooth pictures: `images` in each of the nine class folders."""

    def make(folder: Path, images: int = 4, size: int = 64) -> Path:
        for number, name in enumerate(CLASSES):
            (folder / name).mkdir(parents=True)
            for image in range(images):
                noise(1000 * number + image, size).save(folder / name / f"{name}_{image}.png")
        return folder

    return make
