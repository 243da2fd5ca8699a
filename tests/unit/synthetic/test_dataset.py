"""The synthetic sample: the same for the same seed, whole or not there at all, and true to its own metadata."""

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.core.classes import CLASSES
from components.synthetic import dataset, photograph
from components.synthetic.lesions import PROFILES, Lesion, draw_lesion, paint
from components.synthetic.structures import STRUCTURES

FEW = {"nevus": 4, "melanoma": 3, "vascular_lesion": 2}


def files(folder: Path) -> dict[str, str]:
    """The sha256 of every file under a folder."""
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metadata.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "data"
    dataset.write_dataset(folder, FEW, seed=3, size=64)
    return folder


def test_the_same_seed_writes_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    dataset.write_dataset(tmp_path / "again", FEW, seed=3, size=64)
    assert files(tmp_path / "again") == files(folder)


def test_another_seed_writes_other_images(folder: Path, tmp_path: Path) -> None:
    dataset.write_dataset(tmp_path / "other", FEW, seed=4, size=64)
    assert not set(files(tmp_path / "other").values()) & set(files(folder).values())


def test_a_lesion_does_not_depend_on_how_many_the_other_classes_have(folder: Path, tmp_path: Path) -> None:
    dataset.write_dataset(tmp_path / "more", FEW | {"dermatofibroma": 1}, seed=3, size=64)
    pictures = {digest for name, digest in files(folder).items() if name.endswith(".jpg")}
    assert pictures < set(files(tmp_path / "more").values())


def test_metadata_names_every_file_once(folder: Path) -> None:
    listed = [row["filename"] for row in rows(folder)]
    assert sorted(listed) == sorted(name for name in files(folder) if name != "metadata.csv")
    assert all(row["filename"] == f"{row['diagnosis']}/{row['isic_id']}.jpg" for row in rows(folder))


def test_metadata_has_the_columns_that_the_catalog_reads(folder: Path) -> None:
    assert tuple(rows(folder)[0]) == dataset.METADATA_COLUMNS
    assert {(row["collection"], row["license"]) for row in rows(folder)} == {("synthetic", "CC0-1.0")}


def test_each_class_has_the_lesions_asked_for(folder: Path) -> None:
    lesions = {(row["diagnosis"], row["lesion_id"]) for row in rows(folder)}
    assert {name: sum(diagnosis == name for diagnosis, _ in lesions) for name in FEW} == FEW


def test_some_lesions_have_several_images_that_all_differ(folder: Path) -> None:
    assert len(rows(folder)) > sum(FEW.values())
    assert len(set(files(folder).values())) == len(files(folder))


def test_files_are_square_colour_images_of_the_size_asked_for(folder: Path) -> None:
    for row in rows(folder):
        with Image.open(folder / row["filename"]) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (64, 64))


def test_an_existing_folder_is_left_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(folder)
    assert dataset.main([str(folder)]) == 2
    assert "--force" in capsys.readouterr().err
    assert files(folder) == before


def test_force_replaces_a_sample(tmp_path: Path) -> None:
    dataset.write_dataset(tmp_path / "data", {"nevus": 2}, size=32)
    dataset.write_dataset(tmp_path / "data", {"nevus": 1}, size=32, force=True)
    assert len({row["lesion_id"] for row in rows(tmp_path / "data")}) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("metadata", ["", "isic_id,collection\nISIC_1,HAM10000\n"])
def test_force_never_replaces_what_is_not_a_sample(tmp_path: Path, metadata: str) -> None:
    (tmp_path / "metadata.csv").write_text(metadata)
    with pytest.raises(FileExistsError, match="not a sample"):
        dataset.write_dataset(tmp_path, {"nevus": 1}, size=32, force=True)
    assert (tmp_path / "metadata.csv").read_text() == metadata


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(dataset, "photograph", fail)
    with pytest.raises(OSError, match="disk full"):
        dataset.write_dataset(tmp_path / "data", {"nevus": 1}, size=32)
    assert list(tmp_path.iterdir()) == []


def test_the_bundled_plan_is_unequal_and_gives_every_class_enough_lesions() -> None:
    assert tuple(sorted(dataset.LESIONS_PER_CLASS)) == CLASSES
    assert min(dataset.LESIONS_PER_CLASS.values()) >= 40
    assert len(set(dataset.LESIONS_PER_CLASS.values())) == len(CLASSES)


@pytest.mark.parametrize("diagnosis", CLASSES)
def test_a_lesion_renders_as_bytes_of_any_size(diagnosis: str) -> None:
    rng = np.random.default_rng(0)
    lesion = draw_lesion(diagnosis, rng)
    for size in (48, 128):
        image = photograph.render(lesion, size, rng)
        assert image.shape == (size, size, 3)
        assert image.dtype == np.uint8
        assert image.std() > 5


def test_a_painting_is_a_function_of_the_lesion_alone() -> None:
    lesion = draw_lesion("melanoma", np.random.default_rng(1))
    assert np.array_equal(paint(lesion), paint(lesion))


def test_every_structure_is_seen_in_some_diagnosis_and_no_other_is_named() -> None:
    assert {name for profile in PROFILES.values() for name in profile.often} == set(STRUCTURES)


@pytest.mark.parametrize("name", STRUCTURES)
def test_every_structure_leaves_a_mark(name: str) -> None:
    plain = Lesion("nevus", 5, 0.2, 0.7, 1.0, 0.1, 0.0, 0.1, 0.0, 0.2, 0.2, ())
    marked = Lesion("nevus", 5, 0.2, 0.7, 1.0, 0.1, 0.0, 0.1, 0.0, 0.2, 0.2, ((name, 1.0),))
    assert np.abs(paint(plain).astype(int) - paint(marked)).max() > 30
