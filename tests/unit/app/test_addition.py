"""`lesionflow import --add`: a second source joins the present dataset."""

from pathlib import Path

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from app.cli import main
from app.data import content, ingest, replacement
from app.data.pseudonyms import stored_patient_ids
from app.data.recognition import ImportOptions
from app.data.source_tables import GivenTable, read_description
from components.core.errors import LesionflowError
from components.data_quality.dataset import read_label_set_name
from components.runtime.params import ImportLimits
from tests.support.images import encoded, noise
from tests.support.versioned import NEW, OLD, command, commit, read_files, read_images, template, versioned, write

__all__ = ["template", "versioned"]

LIMITS = ImportLimits(max_files=200, max_file_mb=16, max_total_gb=0.05, max_ratio=200)
PICTURE = noise(1, 32)
IMAGE = encoded(PICTURE)


def image(number: int) -> bytes:
    """An image of its own for each number, all of equal size: they differ in the density that JFIF states."""
    return IMAGE[:17] + bytes([number]) + IMAGE[18:]


def run(source: Path, **options) -> list[str]:
    return list(ingest.import_dataset(source, LIMITS, ImportOptions(**options)))


def add(source: Path, **options) -> list[str]:
    return run(source, add=True, **options)


def images() -> list[str]:
    return sorted(name for name in read_files(Path("data")) if name.endswith((".jpg", ".png")))


def inode(name: str) -> int:
    return Path("data", name).stat().st_ino


def table() -> pd.DataFrame:
    return pd.read_csv("data/metadata.csv", dtype=str, keep_default_na=False).set_index("filename")


def description() -> dict:
    return yaml.safe_load(Path("data/dataset.yaml").read_text(encoding="utf-8"))


def refused(source: Path, message: str, **options) -> None:
    before = read_files(Path("data"))
    with pytest.raises(LesionflowError, match=message) as error:
        add(source, **options)
    assert "\n" not in str(error.value)
    assert read_files(Path("data")) == before
    assert not replacement.STAGING.exists()


@pytest.fixture
def clinic(project):
    """The dataset of a first source: class folders with a table, an attribution and a license."""
    source = write(
        project.parent / "clinic",
        {
            "nevus/a.jpg": image(1),
            "nevus/b.jpg": image(2),
            "melanoma/ISIC_0000003.jpg": image(3),
            "metadata.csv": b"filename,lesion_id,patient_id\na,L1,P1\nb,L1,P1\n",
            "attribution.txt": b"A clinic\n",
            "licenses/CC-BY.txt": b"by",
        },
    )
    run(source)
    return source


HAM = b"lesion_id,image_id,dx,dx_type,age,sex,localization\nHAM_1,ISIC_0000011,nv,histo,45.0,male,back\nHAM_2,ISIC_0000012,bkl,histo,50,,\n"


@pytest.fixture
def ham(tmp_path):
    """A source in the form of HAM10000."""
    return write(
        tmp_path / "ham",
        {"part_1/ISIC_0000011.jpg": image(11), "part_2/ISIC_0000012.jpg": image(12), "HAM10000_metadata.csv": HAM, "LICENSE.txt": b"nc"},
    )


@pytest.mark.usefixtures("clinic")
def test_ham10000_is_added_to_class_folders(ham):
    inodes = {name: inode(name) for name in images()}
    lines = add(ham)
    assert lines[-1] == "added 2 files; imported 5 files in 4 classes"
    assert images() == ["bkl/ISIC_0000012.jpg", "melanoma/ISIC_0000003.jpg", "nevus/a.jpg", "nevus/b.jpg", "nv/ISIC_0000011.jpg"]
    assert {name: inode(name) for name in inodes} == inodes, "files of the present dataset must be linked"
    assert table().loc["nv/ISIC_0000011.jpg", ["lesion_id", "age_approx", "sex", "source"]].tolist() == ["HAM_1", "45", "male", "ham"]
    assert table().loc["nevus/a.jpg", ["lesion_id", "age_approx", "source"]].tolist() == ["clinic:L1", "", "clinic"]
    assert table().loc["nevus/a.jpg", "patient_id"] in stored_patient_ids("P1") - {"P1"}
    assert table().loc["melanoma/ISIC_0000003.jpg", "source"] == "clinic"
    assert Path("data/attribution.txt").read_bytes() == b"A clinic\n"
    assert {"licenses/CC-BY.txt", "licenses/LICENSE.txt"} <= {*read_files(Path("data"))}


@pytest.mark.usefixtures("clinic")
def test_description_names_every_source_and_the_label_set_of_the_whole(ham, tmp_path):
    add(ham)
    both = description()
    assert (both["image_type"], both["label_set"]) == ("dermoscopic", "isic8")
    assert [(one["form"], one["source"], one["label_set"]) for one in both["sources"]] == [
        ("folders", "clinic", "isic9"),
        ("ham10000", "ham", "ham7"),
    ]
    assert read_label_set_name(Path("data")) == "isic8"
    add(write(tmp_path / "third", {"psoriasis/x.jpg": image(20), "nevus/y.jpg": image(21)}))
    assert [one["source"] for one in description()["sources"]] == ["clinic", "ham", "third"]
    assert description()["label_set"] is None
    assert table()["source"].value_counts().to_dict() == {"clinic": 3, "ham": 2, "third": 2}


@pytest.mark.usefixtures("clinic")
def test_images_that_are_there_by_id_or_bytes_are_named_and_not_added(tmp_path):
    source = write(
        tmp_path / "second",
        {"mel/ISIC_0000003_downsampled.jpg": image(40), "nevus/other_name.jpg": image(2), "nevus/new.jpg": image(5)},
    )
    lines = add(source)
    listed = "ISIC_0000003_downsampled.jpg as melanoma/ISIC_0000003.jpg, other_name.jpg as nevus/b.jpg"
    assert f"already in data/ and not added again: 2 ({listed})" in lines
    assert lines[-1] == "added 1 files; imported 4 files in 2 classes"
    assert "nevus/new.jpg" in images()


@pytest.mark.usefixtures("clinic")
def test_source_that_is_there_already_changes_nothing(ham):
    add(ham)
    before = read_files(Path("data"))
    lines = add(ham)
    assert lines[-1] == "all 2 images are in data/ already; nothing was changed"
    assert read_files(Path("data")) == before


@pytest.mark.usefixtures("clinic")
def test_converted_image_is_found_by_the_bytes_that_it_gets(tmp_path):
    source = write(tmp_path / "second", {"nevus/c.bmp": encoded(PICTURE, "BMP"), "melanoma/new.jpg": image(7)})
    assert add(source)[-1] == "added 2 files; imported 5 files in 2 classes"
    (source / "nevus/c.bmp").rename(source / "nevus/renamed.bmp")
    assert add(source)[-1] == "all 2 images are in data/ already; nothing was changed"


@pytest.mark.usefixtures("clinic")
def test_other_label_of_an_image_that_is_there_is_refused(tmp_path):
    source = write(tmp_path / "second", {"bcc/ISIC_0000003.jpg": image(3), "nevus/new.jpg": image(5)})
    message = (
        r"the labels of 1 images differ between second and data/, first 'bcc/ISIC_0000003.jpg': 'bcc' in second, 'melanoma' as"
        r" data/melanoma/ISIC_0000003.jpg \(compared as classes of isic9\). Correct one of them; nothing was imported"
    )
    refused(source, message)


@pytest.mark.usefixtures("clinic")
def test_other_word_for_the_same_class_is_not_refused(tmp_path):
    source = write(tmp_path / "second", {"nv/a.jpg": image(1), "nv/new.jpg": image(5), "mel/m.jpg": image(6)})
    assert add(source)[-1] == "added 2 files; imported 5 files in 4 classes"


@pytest.mark.usefixtures("project")
def test_labels_without_label_set_are_compared_by_name(tmp_path):
    run(write(tmp_path / "rash", {"psoriasis/a.jpg": image(1), "eczema/b.jpg": image(2)}))
    refused(write(tmp_path / "second", {"eczema/a.jpg": image(1), "acne/c.jpg": image(3)}), "compared by name, since no label set fits")


@pytest.mark.usefixtures("clinic")
def test_clinical_images_are_not_mixed_with_dermoscopic_ones(tmp_path):
    rows = b"patient_id,lesion_id,age,diagnostic,img_id\nPAT_1,2,40,BCC,PAT_1.png\n"
    source = write(tmp_path / "pad", {"PAT_1.png": encoded(PICTURE, "PNG"), "metadata.csv": rows})
    refused(source, r"pad has clinical images and data/ has dermoscopic ones: types are not mixed\. .* --image-type dermoscopic; nothing")


@pytest.mark.usefixtures("project")
def test_type_of_dataset_without_description_is_that_of_its_table(tmp_path):
    Path("data/metadata.csv").write_text("filename,image_type\nnevus/old.jpg,clinical: overview\n")
    refused(write(tmp_path / "second", {"nevus/a.jpg": image(1), "melanoma/b.jpg": image(2)}), "data/ has clinical ones")


@pytest.mark.usefixtures("project")
def test_dataset_without_description_can_be_added_to(tmp_path):
    Path("data/metadata.csv").write_text("filename,lesion_id,remark\nnevus/old.jpg,NA,1\n")
    lines = add(write(tmp_path / "second", {"nevus/old.jpg": image(1), "melanoma/b.jpg": image(2)}))
    assert "renamed, since data/ has another file of that name: 1 (nevus/old.jpg as nevus/old_2.jpg)" in lines
    assert Path("data/nevus/old.jpg").read_bytes() == b"old"
    assert description()["sources"][0] == {"form": None, "source": "not recorded", "image_type": "dermoscopic", "label_set": "isic9"}
    assert table().loc["nevus/old.jpg", ["lesion_id", "remark", "source"]].tolist() == ["NA", "1", "not recorded"]


@pytest.mark.usefixtures("clinic")
def test_files_of_equal_names_get_other_names(tmp_path):
    files = {"set/nevus/a.jpg": image(21), "set/nevus/b.jpg": image(22), "set/melanoma/m.jpg": image(23)}
    texts = {"licenses/CC-BY.txt": b"another text", "attribution.txt": b"Another clinic\n"}
    lines = add(write(tmp_path / "second", {**files, **texts}))
    assert images() == ["melanoma/ISIC_0000003.jpg", "melanoma/m.jpg", *(f"nevus/{name}.jpg" for name in ("a", "a_2", "b", "b_2"))]
    assert "renamed, since data/ has another file of that name: 2 (nevus/a.jpg as nevus/a_2.jpg, nevus/b.jpg as nevus/b_2.jpg)" in lines
    assert Path("data/nevus/a_2.jpg").read_bytes() == image(21)
    assert Path("data/licenses/CC-BY.txt").read_bytes() == b"by"
    assert Path("data/licenses/CC-BY_2.txt").read_bytes() == b"another text"
    assert Path("data/attribution.txt").read_bytes() == b"A clinic\n\nAnother clinic\n"


@pytest.mark.usefixtures("clinic")
def test_equal_license_and_attribution_stay_once(tmp_path):
    texts = {"licenses/CC-BY.txt": b"by", "attribution.txt": b"A clinic"}
    add(write(tmp_path / "second", {"nevus/new.jpg": image(21), "melanoma/m.jpg": image(22), **texts}))
    assert [name for name in read_files(Path("data")) if name.startswith("licenses/")] == ["licenses/CC-BY.txt"]
    assert Path("data/attribution.txt").read_bytes() == b"A clinic\n"


@pytest.mark.usefixtures("clinic")
def test_files_are_copied_where_links_are_not_possible(ham, monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(content.os, "link", refuse)
    before = read_images(Path("data"))
    assert add(ham)[-1] == "added 2 files; imported 5 files in 4 classes"
    assert before.items() <= read_images(Path("data")).items()


@pytest.mark.parametrize(
    ("pointer", "way_out"), [(False, "Run `lesionflow import SRC` without --add"), (True, "Run `dvc checkout data.dvc`")]
)
def test_without_a_dataset_the_way_out_is_named(project, ham, pointer, way_out):
    (project / "data/nevus/old.jpg").unlink()
    (project / "data/nevus").rmdir()
    (project / "data").rmdir()
    if pointer:
        (project / "data.dvc").write_text("outs: []\n")
    with pytest.raises(LesionflowError, match=f"there is no dataset: data/ does not exist. {way_out}"):
        add(ham)


@pytest.mark.usefixtures("clinic")
def test_dry_run_shows_the_whole_and_changes_nothing(ham):
    before = read_files(Path())
    lines = list(ingest.describe_import(ham, LIMITS, ImportOptions(add=True)))
    assert lines[-1] == "dry run: 2 images would be added, 5 in 4 classes with them; nothing was changed"
    assert ["nevus", "nevus", "2", "0", "2"] in [line.split() for line in lines]
    assert ["bkl", "benign_keratosis", "0", "1", "1"] in [line.split() for line in lines]
    assert read_files(Path()) == before


@pytest.mark.usefixtures("clinic")
def test_description_of_a_table_is_found_among_sources(tmp_path):
    source = write(tmp_path / "second", {"x.jpg": image(31), "y.jpg": image(32), "list.csv": b"file,dx\nx,nv\ny,mel\n"})
    given = GivenTable(source / "list.csv", {"file": "filename", "dx": "diagnosis"})
    add(source, table=given)
    assert read_description(Path("data/dataset.yaml")) == GivenTable(Path("list.csv"), given.columns, "second")
    add(write(tmp_path / "third", {"z.jpg": image(33), "list.csv": b"file,dx\nz,nv\n"}), table=GivenTable(Path("list.csv"), given.columns))
    with pytest.raises(LesionflowError, match=r"describes 2 tables: list\.csv, list\.csv\. Keep one of them in a copy"):
        read_description(Path("data/dataset.yaml"))


@pytest.mark.usefixtures("clinic")
def test_interrupted_addition_leaves_dataset_and_resumes(ham, monkeypatch):
    before = read_files(Path("data"))
    with monkeypatch.context() as patch:
        patch.setattr(ingest, "keep_files", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            add(ham)
    assert read_files(Path("data")) == before
    copied = next(replacement.STAGING.rglob("ISIC_0000011.jpg")).stat().st_ino
    add(ham)
    assert inode("nv/ISIC_0000011.jpg") == copied
    assert before["nevus/a.jpg"] == Path("data/nevus/a.jpg").read_bytes()


@pytest.mark.slow
def test_command_adds_under_dvc_and_diff_shows_class_and_source(versioned, tmp_path):
    result = CliRunner().invoke(main, ["import", "--add", str(tmp_path / "source")])
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == "added 3 files; imported 5 files in 2 classes"
    assert read_images(versioned / "data") == {**OLD, **NEW}
    assert "is not committed" in CliRunner().invoke(main, ["import", "--add", str(tmp_path / "source")]).output
    commit(versioned)
    assert "up to date" in command(versioned, "dvc", "status", "data.dvc")
    lines = CliRunner().invoke(main, ["data", "diff", "HEAD~1", "HEAD"]).output.splitlines()
    assert lines[0] == "from HEAD~1 to HEAD: 5 added, 0 removed, 0 relabeled, 0 changed, 0 renamed"
    rows = [line.split() for line in lines]
    assert ["nevus", "2", "0", "0", "0"] in rows
    assert rows[rows.index(["source", "added", "removed"]) + 1] == ["source", "3", "0"]


@pytest.mark.slow
def test_addition_that_dvc_refuses_leaves_dataset(versioned, tmp_path, monkeypatch):
    from dvc.repo import Repo

    def fail(*_, **__):
        raise OSError("no")

    pointer = (versioned / "data.dvc").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Repo, "add", fail)
        with pytest.raises(LesionflowError, match="data/ cannot be replaced: no; nothing was changed"):
            add(tmp_path / "source")
    assert read_files(versioned / "data") == OLD
    assert (versioned / "data.dvc").read_bytes() == pointer
    assert not replacement.STAGING.exists()
    assert add(tmp_path / "source")[-1] == "added 3 files; imported 5 files in 2 classes"
