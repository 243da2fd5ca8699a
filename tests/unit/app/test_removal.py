"""`lesionflow data remove`: images leave the dataset with their rows, in real git and DVC repositories where it says so."""

import hashlib
import os
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli import main
from app.data import removal, replacement
from app.data.removal import remove_images
from app.data.selection import Selection
from app.models import trained_on
from app.models.trained_on import VersionUse
from components.core.errors import LesionflowError, ServiceUnavailable
from components.data_quality.dataset import read_label_set_name
from tests.support.images import encoded, noise
from tests.support.project import ROOT
from tests.support.versioned import OLD, command, commit, read_files, template, versioned, write

__all__ = ["template", "versioned"]

METADATA = (
    "filename,isic_id,lesion_id,patient_id\n"
    "nevus/a.jpg,,L1,P1\nnevus/b.jpg,,L1,\nnevus/c.jpg,X7,2,P2\nmelanoma/c.jpg,,2,P3\nmelanoma/ISIC_0000005.jpg,,unknown,unknown\n"
)
NAMES = ("nevus/a.jpg", "nevus/b.jpg", "nevus/c.jpg", "melanoma/c.jpg", "melanoma/ISIC_0000005.jpg", "bcc/d.jpg")


@pytest.fixture
def dataset(project):
    """Six images of three diagnoses; b.jpg has no patient of its own, and P2 and P3 each have a lesion 2."""
    (project / "data/nevus/old.jpg").unlink()
    write(project / "data", {name: encoded(noise(number)) for number, name in enumerate(NAMES)})
    write(project / "data", {"metadata.csv": METADATA.encode(), "dataset.yaml": b"label_set: isic9\n", "licenses/CC-BY.txt": b"by"})
    (project / "params.yaml").symlink_to(ROOT / "params.yaml")
    return project


def remove(dry_run=False, **selection) -> list[str]:
    return list(remove_images(Selection(**{name: tuple(values) for name, values in selection.items()}), dry_run))


def left() -> list[str]:
    return sorted(name for name in read_files(Path("data")) if name.endswith(".jpg"))


def without(*names: str) -> list[str]:
    return sorted({*NAMES} - {*names})


def refused(message: str, **selection) -> None:
    before = read_files(Path("data"))
    with pytest.raises(LesionflowError, match=message) as error:
        remove(**selection)
    assert "\n" not in str(error.value)
    assert read_files(Path("data")) == before
    assert not replacement.STAGING.exists()


@pytest.mark.usefixtures("dataset")
def test_patient_goes_with_images_of_lesion_that_name_no_patient():
    lines = remove(patients=["P1"])
    assert left() == without("nevus/a.jpg", "nevus/b.jpg")
    assert lines[0] == "to remove: 2 of 6 images"
    assert lines[1].split() == ["nevus", "2", "of", "3"]
    assert "files: nevus/a.jpg, nevus/b.jpg" in lines
    assert "rows of metadata.csv to remove: 2" in lines
    assert lines[-1] == "removed 2 images; 4 are left"
    assert "no version of skin-lesion-mobilenetv2 exists: there is no MLflow store yet" in lines
    assert any("dvc gc --workspace" in line for line in lines)


@pytest.mark.usefixtures("dataset")
def test_rows_of_removed_images_go_and_other_files_stay():
    remove(patients=["P1"])
    text = Path("data/metadata.csv").read_text()
    assert text == "filename,isic_id,lesion_id,patient_id\nnevus/c.jpg,X7,2,P2\nmelanoma/c.jpg,,2,P3\n" + (
        "melanoma/ISIC_0000005.jpg,,unknown,unknown\n"
    )
    assert Path("data/licenses/CC-BY.txt").read_bytes() == b"by"
    assert read_label_set_name(Path("data")) == "isic9"


@pytest.mark.parametrize(
    ("selection", "gone"),
    [
        ({"lesions": ["L1"]}, ["nevus/a.jpg", "nevus/b.jpg"]),
        ({"lesions": ["P2 / 2"]}, ["nevus/c.jpg"]),
        ({"images": ["data/bcc/d.jpg"]}, ["bcc/d.jpg"]),
        ({"images": ["melanoma/c.jpg"]}, ["melanoma/c.jpg"]),
        ({"images": ["d.jpg", "ISIC_0000005"]}, ["bcc/d.jpg", "melanoma/ISIC_0000005.jpg"]),
        ({"images": ["X7"], "patients": ["P3"]}, ["nevus/c.jpg", "melanoma/c.jpg"]),
    ],
)
@pytest.mark.usefixtures("dataset")
def test_images_are_found_by_each_kind_of_name(selection, gone):
    remove(**selection)
    assert left() == without(*gone)


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({}, "nothing is named to remove"),
        ({"patients": ["P1", "P9"]}, r"data/ has no patient 'P9'\. Close: P\d, P\d, P\d; nothing was changed"),
        ({"patients": ["unknown"]}, "data/ has no patient 'unknown'; nothing was changed"),
        ({"lesions": ["unknown"]}, "data/ has no lesion 'unknown'; nothing was changed"),
        ({"lesions": ["2"]}, "lesion '2' stands for 2 lesions of different patients or sources: P2 / 2, P3 / 2. Name one of these"),
        ({"images": ["c.jpg"]}, "image 'c.jpg' stands for 2 files: melanoma/c.jpg, nevus/c.jpg"),
        ({"images": ["nevus/d.jpg"]}, r"data/ has no image 'nevus/d\.jpg'\. Close: "),
        ({"images": NAMES}, "these are all 6 images of data/"),
    ],
)
@pytest.mark.usefixtures("dataset")
def test_unknown_or_ambiguous_id_changes_nothing(selection, message):
    refused(message, **selection)


def test_dry_run_changes_nothing(dataset):
    before = read_files(dataset)
    lines = remove(dry_run=True, patients=["P1"])
    assert lines[0] == "to remove: 2 of 6 images"
    assert lines[-1] == "dry run: nothing was changed"
    assert read_files(dataset) == before


def test_equal_files_and_decisions_are_named(dataset):
    write(dataset / "data", {"bcc/copy.jpg": encoded(noise(0))})
    Path("decisions.csv").write_text("path,sha256,decision,to,note\nnevus/a.jpg,1,keep,,\nbcc/d.jpg,2,drop,,\n")
    lines = remove(images=["a.jpg"])
    assert "files that stay with the same bytes as a removed one: 1 (bcc/copy.jpg). To remove them, add --image" in lines
    assert any(line.startswith("decisions.csv has 1 rows about them, which stay: nevus/a.jpg.") for line in lines)
    assert "nevus/a.jpg" in Path("decisions.csv").read_text()


def test_file_that_is_no_image_can_be_removed(dataset):
    write(dataset / "data", {"nevus/broken.jpg": b"no"})
    assert remove(images=["broken.jpg"])[-1] == "removed 1 images; 6 are left"


@pytest.mark.usefixtures("dataset")
def test_versions_are_listed_by_what_they_did_with_the_images(monkeypatch):
    uses = [
        VersionUse("1", (), None),
        VersionUse("2", ("champion",), Counter({"train": 1, "test": 1})),
        VersionUse("3", (), Counter({"test": 1})),
        VersionUse("4", (), Counter()),
    ]
    hashes = []
    monkeypatch.setattr(trained_on, "store_exists", lambda: True)
    monkeypatch.setattr(trained_on, "find_uses", lambda _, pixels: hashes.extend(pixels) or uses)
    lines = remove(dry_run=True, patients=["P1"])
    place = lines.index("versions of skin-lesion-mobilenetv2 that trained or validated on them:")
    assert lines[place + 1 : place + 4] == [
        "  version 2 (champion): trained on 1, tested on 1",
        "versions only tested on them: 3",
        "versions whose split is not recorded, so they may have: 1",
    ]
    assert len(hashes) == 2


@pytest.mark.usefixtures("dataset")
def test_removal_does_not_wait_for_a_store_that_does_not_answer(monkeypatch):
    def fail(*_):
        raise ServiceUnavailable("MLflow's store does not respond: no\nStart the server.")

    monkeypatch.setattr(trained_on, "store_exists", lambda: True)
    monkeypatch.setattr(trained_on, "find_uses", fail)
    lines = remove(patients=["P1"])
    assert "the versions that were trained with them could not be listed: MLflow's store does not respond: no" in lines
    assert lines[-1] == "removed 2 images; 4 are left"


@pytest.mark.slow
def test_command_removes_under_dvc(versioned):
    result = CliRunner().invoke(main, ["data", "remove", "--image", "old_2.jpg"])
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == "removed 1 images; 1 are left"
    assert read_files(versioned / "data") == {"nevus/old_1.jpg": OLD["nevus/old_1.jpg"]}
    assert "up to date" in command(versioned, "dvc", "status", "data.dvc")
    assert "is not committed" in CliRunner().invoke(main, ["data", "remove", "--image", "old_1.jpg"]).output
    commit(versioned)
    assert CliRunner().invoke(main, ["data", "remove", "--image", "gone.jpg"]).exit_code == 1
    assert "0 added, 1 removed" in CliRunner().invoke(main, ["data", "diff", "HEAD~1"]).output
    command(versioned, "git", "checkout", "--quiet", "HEAD~1", "--", "data.dvc")
    command(versioned, "dvc", "checkout", "--quiet", "data.dvc")
    assert read_files(versioned / "data") == OLD


@pytest.mark.slow
def test_printed_command_purges_removed_images_from_cache(versioned):
    digests = {name: hashlib.md5(content, usedforsecurity=False).hexdigest() for name, content in OLD.items()}
    cached = {name: versioned / ".dvc/cache/files/md5" / digest[:2] / digest[2:] for name, digest in digests.items()}
    list(remove_images(Selection(images=("old_2.jpg",))))
    commit(versioned)
    command(versioned, "dvc", "gc", "--workspace", "--force", "--quiet")
    assert {name: path.exists() for name, path in cached.items()} == {"nevus/old_1.jpg": True, "melanoma/old_2.jpg": False}


@pytest.mark.slow
def test_killed_removal_is_rolled_back(versioned, monkeypatch):
    from dvc.repo import Repo

    child = os.fork()
    if child == 0:
        add = Repo.add
        monkeypatch.setattr(Repo, "add", lambda *arguments, **options: (add(*arguments, **options), os._exit(9)))
        list(remove_images(Selection(images=("old_2.jpg",))))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert sorted(read_files(versioned / "data")) == ["nevus/old_1.jpg"]
    output = CliRunner().invoke(main, ["data", "recover"]).output
    assert "an import of data/ without the removed images was interrupted" in output
    assert read_files(versioned / "data") == OLD
    assert command(versioned, "git", "status", "--porcelain", "--", "data.dvc") == ""


@pytest.mark.slow
def test_removal_killed_while_it_links_leaves_dataset(versioned, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(removal, "write_tables", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            list(remove_images(Selection(images=("old_2.jpg",))))
    assert read_files(versioned / "data") == OLD
    assert list(remove_images(Selection(images=("old_2.jpg",))))[-1] == "removed 1 images; 1 are left"
