import pytest

from app.data.folders import common_folders, diagnoses_of_folders, is_structural, knows
from app.data.members import MASKS, SYSTEM, sort_members
from components.data_quality.label_definitions import read_definitions
from tests.support.project import ROOT

KNOWN = knows(read_definitions(ROOT / "labels").values())


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["melanoma/train/benign/a.jpg", "melanoma/train/malignant/b.jpg"], ["benign", "malignant"]),
        (["melanoma/train/eczema/a.jpg", "melanoma/train/psoriasis/b.jpg"], ["eczema", "psoriasis"]),
        (["melanoma/patient_01/a.jpg", "nevus/patient_02/b.jpg"], ["melanoma", "nevus"]),
        (["x/melanoma/patient_01/a.jpg", "x/nevus/images/b.jpg"], ["melanoma", "nevus"]),
        (["Nevus/Train/a.jpg", "bkl/Test/img/b.jpg"], ["Nevus", "bkl"]),
        (["eczema/a.jpg", "nevus/b.jpg"], ["eczema", "nevus"]),
        (["HAM10000_images_part_1/a.jpg", "b.jpg"], [None, None]),
    ],
)
def test_diagnosis_is_the_nearest_folder_that_names_one(names, expected):
    found = diagnoses_of_folders(names, KNOWN)
    assert [found.get(name) for name in names] == expected


@pytest.mark.parametrize("folder", ["Train", "images", "HAM10000_images_part_1", "ISIC_2019_Training_Input", "600x450", "part-2", "###"])
def test_structural_folders_name_no_diagnosis(folder):
    assert is_structural(folder)


@pytest.mark.parametrize("folder", ["nv", "melanoma", "patient_01", "eczema", "Basal Cell Carcinoma (BCC)"])
def test_other_folders_are_not_structural(folder):
    assert not is_structural(folder)


def test_common_folders_counts_shared_top_folders():
    assert common_folders(["a/b/c/1.jpg", "a/b/2.jpg"]) == 2
    assert common_folders(["a/1.jpg", "b/2.jpg"]) == 0
    assert common_folders([]) == 0


def test_sort_members_leaves_out_system_files_masks_and_other_formats():
    system = ["nevus/@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg", "#recycle/nevus/b.jpg", "nevus/._a.jpg", "nevus/Thumbs.db", "nevus/desktop.ini"]
    system += ["__MACOSX/nevus/a.jpg", "$RECYCLE.BIN/a.jpg", "nevus/.DS_Store"]
    masks = [
        "nevus/a_segmentation.png",
        "nevus/a_mask.png",
        "nevus/ISIC_1_superpixels.png",
        "masks/a.png",
        "IMD002_lesion/IMD002_lesion.bmp",
    ]
    found = sort_members(["nevus/a.jpg", *system, *masks, "nevus/a.BMP", "nevus/b.gif", "notes.md", "nevus/c.jpg.crdownload"])
    assert found.images == ["nevus/a.jpg", "nevus/a.BMP"]
    assert found.left_out == {
        SYSTEM: system,
        MASKS: masks,
        "GIF images (convert them to PNG and import again)": ["nevus/b.gif"],
        "not images": ["notes.md"],
        "unfinished downloads": ["nevus/c.jpg.crdownload"],
    }
