"""Which registered versions used images, from the splits in their evidence."""

import pandas as pd
import pytest

from app.models.trained_on import find_uses, version_lines
from components.core.paths import SPLITS
from components.registry import evidence
from tests.mlflow.conftest import MODEL


@pytest.fixture
def pixels(registry):
    """Hashes of the pixels of three images."""
    return registry.predictions(0).images["pixels_sha256"].tolist()[:3]


def register_with_sides(registry, monkeypatch, sides: dict[str, str]) -> str:
    """Register a version whose split has the images of these hashes on these sides."""
    write = evidence.write_evidence

    def write_with_sides(*arguments):
        split = pd.read_parquet(SPLITS)
        split["side"] = [sides.get(digest, side) for digest, side in zip(split["pixels_sha256"], split["side"], strict=True)]
        split.to_parquet(SPLITS)
        return write(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(evidence, "write_evidence", write_with_sides)
        return registry.register_version()


def test_versions_are_found_by_split_of_their_evidence(registry, monkeypatch, pixels):
    registry.register_legacy_version(registry.predictions(0))
    register_with_sides(registry, monkeypatch, {pixels[0]: "train", pixels[1]: "validation"})
    registry.register_version()
    registry.move_champion("2")
    uses = find_uses(MODEL, pixels)
    assert [(use.version, use.aliases, use.sides and dict(use.sides)) for use in uses] == [
        ("1", (), None),
        ("2", ("champion",), {"train": 1, "validation": 1, "test": 1}),
        ("3", (), {"test": 3}),
    ]
    assert list(version_lines(pixels)) == [
        f"versions of {MODEL} that trained or validated on them:",
        "  version 2 (champion): trained on 1, validated on 1, tested on 1",
        "versions only tested on them: 3",
        "versions whose split is not recorded, so they may have: 1",
    ]
    registry.client.delete_model_version(MODEL, "1")
    assert list(version_lines(["another image"])) == [f"no version of {MODEL} trained or validated on them"]


def test_store_without_versions(registry):
    assert list(version_lines(["x"])) == [f"no version of {MODEL} exists"]
    (registry.root / "mlruns/mlflow.db").rename(registry.root / "elsewhere.db")
    assert list(version_lines(["x"])) == [f"no version of {MODEL} exists: there is no MLflow store yet"]
    assert not (registry.root / "mlruns/mlflow.db").exists()
