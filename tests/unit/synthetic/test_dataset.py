"""The synthetic dataset is reproducible, written atomically and consistent with its metadata."""

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.synthetic import dataset, photograph
from components.synthetic.lesions import PROFILES, Lesion, draw_lesion, paint
from components.synthetic.structures import STRUCTURES
from tests.support.labels import CLASSES

LESIONS = {"nevus": 4, "melanoma": 3, "vascular_lesion": 2}


def file_hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file in a folder, by relative path."""
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def metadata_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metadata.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "data"
    dataset.write_dataset(folder, LESIONS, seed=3, size=64)
    return folder


def test_same_seed_writes_same_bytes(folder: Path, tmp_path: Path) -> None:
    dataset.write_dataset(tmp_path / "again", LESIONS, seed=3, size=64)
    assert file_hashes(tmp_path / "again") == file_hashes(folder)


def test_other_seed_writes_other_images(folder: Path, tmp_path: Path) -> None:
    dataset.write_dataset(tmp_path / "other", LESIONS, seed=4, size=64)
    assert not set(file_hashes(tmp_path / "other").values()) & set(file_hashes(folder).values())


def test_lesions_do_not_depend_on_counts_of_other_classes(folder: Path, tmp_path: Path) -> None:
    dataset.write_dataset(tmp_path / "more", LESIONS | {"dermatofibroma": 1}, seed=3, size=64)
    image_hashes = {digest for name, digest in file_hashes(folder).items() if name.endswith(".jpg")}
    assert image_hashes < set(file_hashes(tmp_path / "more").values())


def test_metadata_lists_every_file_once(folder: Path) -> None:
    filenames = [row["filename"] for row in metadata_rows(folder)]
    assert sorted(filenames) == sorted(name for name in file_hashes(folder) if name != "metadata.csv")
    assert all(row["filename"] == f"{row['diagnosis']}/{row['isic_id']}.jpg" for row in metadata_rows(folder))


def test_metadata_has_columns_of_catalog(folder: Path) -> None:
    assert tuple(metadata_rows(folder)[0]) == dataset.METADATA_COLUMNS
    assert {(row["collection"], row["license"]) for row in metadata_rows(folder)} == {("synthetic", "CC0-1.0")}


def test_each_class_has_requested_number_of_lesions(folder: Path) -> None:
    lesions = {(row["diagnosis"], row["lesion_id"]) for row in metadata_rows(folder)}
    assert {name: sum(diagnosis == name for diagnosis, _ in lesions) for name in LESIONS} == LESIONS


def test_lesions_can_have_several_distinct_images(folder: Path) -> None:
    assert len(metadata_rows(folder)) > sum(LESIONS.values())
    assert len(set(file_hashes(folder).values())) == len(file_hashes(folder))


def test_files_are_square_rgb_images_of_requested_size(folder: Path) -> None:
    for row in metadata_rows(folder):
        with Image.open(folder / row["filename"]) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (64, 64))


def test_existing_folder_is_not_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = file_hashes(folder)
    assert dataset.main([str(folder)]) == 2
    assert "--force" in capsys.readouterr().err
    assert file_hashes(folder) == before


def test_force_replaces_synthetic_dataset(tmp_path: Path) -> None:
    dataset.write_dataset(tmp_path / "data", {"nevus": 2}, size=32)
    dataset.write_dataset(tmp_path / "data", {"nevus": 1}, size=32, force=True)
    assert len({row["lesion_id"] for row in metadata_rows(tmp_path / "data")}) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("metadata", ["", "isic_id,collection\nISIC_1,HAM10000\n"])
def test_force_does_not_replace_other_dataset(tmp_path: Path, metadata: str) -> None:
    (tmp_path / "metadata.csv").write_text(metadata)
    with pytest.raises(FileExistsError, match="not a sample"):
        dataset.write_dataset(tmp_path, {"nevus": 1}, size=32, force=True)
    assert (tmp_path / "metadata.csv").read_text() == metadata


def test_failed_write_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(dataset, "photograph", fail)
    with pytest.raises(OSError, match="disk full"):
        dataset.write_dataset(tmp_path / "data", {"nevus": 1}, size=32)
    assert list(tmp_path.iterdir()) == []


def test_bundled_dataset_is_imbalanced_with_enough_lesions_per_class() -> None:
    assert tuple(sorted(dataset.LESIONS_PER_CLASS)) == CLASSES
    assert min(dataset.LESIONS_PER_CLASS.values()) >= 40
    assert len(set(dataset.LESIONS_PER_CLASS.values())) == len(CLASSES)


@pytest.mark.parametrize("diagnosis", CLASSES)
def test_render_returns_uint8_image_of_any_size(diagnosis: str) -> None:
    rng = np.random.default_rng(0)
    lesion = draw_lesion(diagnosis, rng)
    for size in (48, 128):
        image = photograph.render(lesion, size, rng)
        assert image.shape == (size, size, 3)
        assert image.dtype == np.uint8
        assert image.std() > 5


def test_paint_is_deterministic() -> None:
    lesion = draw_lesion("melanoma", np.random.default_rng(1))
    assert np.array_equal(paint(lesion), paint(lesion))


def test_profiles_use_exactly_the_known_structures() -> None:
    assert {name for profile in PROFILES.values() for name in profile.often} == set(STRUCTURES)


@pytest.mark.parametrize("name", STRUCTURES)
def test_each_structure_changes_image(name: str) -> None:
    without_structure = Lesion("nevus", 5, 0.2, 0.7, 1.0, 0.1, 0.0, 0.1, 0.0, 0.2, 0.2, ())
    with_structure = Lesion("nevus", 5, 0.2, 0.7, 1.0, 0.1, 0.0, 0.1, 0.0, 0.2, 0.2, ((name, 1.0),))
    assert np.abs(paint(without_structure).astype(int) - paint(with_structure)).max() > 30
