"""Imports of small sources in the forms that people have, without DVC."""

import io
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import yaml
from PIL import ExifTags, Image

from app.data import ingest
from app.data.conversion import to_png
from app.data.forms.definitions import forms
from app.data.image_metadata import without_metadata
from app.data.pseudonyms import open_key, patient_key
from app.data.recognition import ImportOptions
from app.data.source_tables import GivenTable, read_description
from components.core.errors import LesionflowError
from components.runtime.params import ImportLimits
from tests.support.images import encoded, noise
from tests.support.project import ROOT

pytestmark = pytest.mark.usefixtures("project")

LIMITS = ImportLimits(max_files=200, max_file_mb=16, max_total_gb=0.05, max_ratio=200)
IMAGE = encoded(noise(1, 32))
HAM = "lesion_id,image_id,dx,dx_type,age,sex,localization\n" + "".join(
    f"HAM_{number // 2},ISIC_000000{number},{dx},histo,{45 + number}.0,male,back\n"
    for number, dx in enumerate(("nv", "nv", "mel", "bkl", "akiec"))
)


@pytest.fixture
def source(tmp_path):
    """A function that writes a source: texts as they are, and an image of its own for every name without text."""

    def make(*images: str, folder: str = "source", **texts: str) -> Path:
        root = tmp_path / folder
        for number, name in enumerate(images):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(IMAGE + bytes([number]))
        for name, text in texts.items():
            path = root / name.replace("__", "/").replace("_csv", ".csv").replace("_tab", ".tab").replace("_txt", ".txt")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return root

    return make


def run(path: Path, **options) -> list[str]:
    return list(ingest.import_dataset(path, LIMITS, ImportOptions(**options)))


def files(folder: str = "data") -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())


def project_files() -> list[str]:
    return [name for name in files(".") if not name.startswith((".prefect/", "labels/"))]


def images() -> list[str]:
    return [name for name in files() if name.endswith((".jpg", ".JPG", ".png"))]


def table() -> pd.DataFrame:
    return pd.read_csv("data/metadata.csv", dtype=str).set_index("filename")


def description() -> dict:
    return yaml.safe_load(Path("data/dataset.yaml").read_text(encoding="utf-8"))


def refused(path: Path, message: str, **options) -> None:
    before = project_files()
    with pytest.raises(LesionflowError, match=message) as error:
        run(path, **options)
    assert "\n" not in str(error.value)
    assert project_files() == before


HAM_IMAGES = [f"HAM10000_images_part_{1 + number % 2}/ISIC_000000{number}.jpg" for number in range(5)]


def assert_ham_imported(lines: list[str]) -> None:
    assert lines[-1] == "imported 5 files in 4 classes"
    assert images() == [
        "akiec/ISIC_0000004.jpg",
        "bkl/ISIC_0000003.jpg",
        "mel/ISIC_0000002.jpg",
        "nv/ISIC_0000000.jpg",
        "nv/ISIC_0000001.jpg",
    ]
    row = table().loc["mel/ISIC_0000002.jpg"]
    assert (row["isic_id"], row["lesion_id"], row["age_approx"], row["sex"]) == ("ISIC_0000002", "HAM_1", "47", "male")
    assert (row["diagnosis"], row["anatom_site_general"], row["diagnosis_confirm_type"]) == ("mel", "back", "histo")
    assert (description()["form"], description()["label_set"], description()["image_type"]) == ("ham10000", "ham7", "dermoscopic")


def test_ham10000_of_kaggle(source):
    lines = run(source(*HAM_IMAGES, HAM10000_metadata_csv=HAM, hmnist_28_28_RGB_csv="pixel0000,label\n1,2\n"))
    assert lines[0] == "form: ham10000 (HAM10000): HAM10000_metadata.csv has the columns image_id, dx, lesion_id"
    assert "  tables without a column that names images: 1 (hmnist_28_28_RGB.csv); by folder: . 1" in lines
    assert not any("columns left out" in line for line in lines)
    assert_ham_imported(lines)


def test_ham10000_sorted_by_people_into_folders(source):
    dx = ["nv", "nv", "mel", "bkl", "akiec"]
    assert_ham_imported(run(source(*(f"{name}/ISIC_000000{number}.jpg" for number, name in enumerate(dx)), metadata_csv=HAM)))


@pytest.mark.parametrize("packed", [False, True])
def test_ham10000_of_dataverse_with_inner_archives(source, tmp_path, packed):
    folder = source(HAM10000_metadata_tab=HAM.replace(",", "\t"))
    for part in (1, 2):
        with zipfile.ZipFile(folder / f"HAM10000_images_part_{part}.zip", "w") as archive:
            for name in HAM_IMAGES[part - 1 :: 2]:
                archive.writestr(Path(name).name, IMAGE + name.encode())
    if packed:
        with zipfile.ZipFile(tmp_path / "dataverse_files.zip", "w") as archive:
            for path in folder.iterdir():
                archive.write(path, path.name)
        folder = tmp_path / "dataverse_files.zip"
    assert_ham_imported(run(folder))
    assert description()["source"] == folder.name


def test_ham10000_of_kaggle_with_folders_twice(source):
    folder = source(*HAM_IMAGES, HAM10000_metadata_csv=HAM)
    for name in HAM_IMAGES:
        copy = folder / name.lower().replace("isic_", "ISIC_")
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes((folder / name).read_bytes())
    lines = run(folder)
    assert any("copies of files in a folder whose name differs only in case: 5 (" in line for line in lines)
    assert_ham_imported(lines)


def test_files_that_differ_are_no_copies(source):
    folder = source("nevus/a.jpg", "melanoma/b.jpg")
    (folder / "Nevus").mkdir()
    (folder / "Nevus/a.jpg").write_bytes(IMAGE)
    refused(folder, "differs from another member only in case")


def test_derm7pt_takes_dermoscopic_images(source):
    rows = (
        "case_num,diagnosis,seven_point_score,location,sex,clinic,derm\n1,melanoma (less than 0.76 mm),3,back,male,NEL/N1.jpg,NEL/N2.jpg\n"
    )
    rows += "2,blue nevus,1,head neck,female,NEL/N3.jpg,NEL/N4.jpg\n"
    run(source(*(f"images/NEL/N{number}.jpg" for number in range(1, 5)), meta__meta_csv=rows))
    assert images() == ["blue_nevus/N4.jpg", "melanoma/N2.jpg"]
    assert table().loc["melanoma/N2.jpg", ["lesion_id", "anatom_site_general"]].tolist() == ["derm7pt:1", "back"]


def test_isic_2018_joins_ground_truth_and_lesions(source):
    path = source(
        "ISIC2018_Task3_Training_Input/ISIC_0000001.jpg",
        "ISIC2018_Task3_Training_Input/ISIC_0000002.jpg",
        ISIC2018_Task3_Training_Input__ATTRIBUTION_txt="HAM10000\n",
        ISIC2018_Task3_Training_Input__LICENSE_txt="CC-BY-NC\n",
        truth__truth_csv="image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\nISIC_0000001,1.0,0,0,0,0,0,0\nISIC_0000002,0,0,0,0,1.0,0,0\n",
        LesionGroupings_csv="image,lesion_id,diagnosis_confirm_type\nISIC_0000001,HAM_1,histopathology\n",
    )
    assert run(path)[-1] == "imported 2 files in 2 classes"
    assert files() == [
        "attribution.txt", "bkl/ISIC_0000002.jpg", "dataset.yaml", "licenses/LICENSE.txt", "mel/ISIC_0000001.jpg", "metadata.csv"
    ]  # fmt: skip
    assert table().loc["mel/ISIC_0000001.jpg", ["lesion_id", "diagnosis_confirm_type"]].tolist() == ["HAM_1", "histopathology"]
    assert description()["form"] == "isic2018"


def test_isic_2019_leaves_out_unknown_and_says_so(source):
    names = ["ISIC_0000001", "ISIC_0000002_downsampled", "ISIC_0000003"]
    path = source(
        *(f"ISIC_2019_Training_Input/{name}.jpg" for name in names),
        GroundTruth_csv="image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\n"
        "ISIC_0000001,0,0,0,0,0,0,0,1.0,0\nISIC_0000002_downsampled,0,1,0,0,0,0,0,0,0\nISIC_0000003,0,0,0,0,0,0,0,0,1\n",
        Metadata_csv="image,age_approx,anatom_site_general,lesion_id,sex\nISIC_0000001,40.0,head/neck,BCN_1,male\n",
    )
    lines = run(path)
    assert images() == ["nv/ISIC_0000002_downsampled.jpg", "scc/ISIC_0000001.jpg"]
    assert any("images labeled UNK, which is not a diagnosis: 1 (ISIC_0000003.jpg)" in line for line in lines)
    assert table()["isic_id"].tolist() == ["ISIC_0000001", "ISIC_0000002"]
    assert description()["label_set"] == "isic8"


ARCHIVE = (
    "isic_id,attribution,copyright_license,diagnosis_1,diagnosis_2,diagnosis_3,image_type,lesion_id,patient_id\n"
    'ISIC_0000001,A clinic,CC-BY,Malignant,Malignant melanocytic proliferations (Melanoma),"Melanoma, NOS",dermoscopic,IL_1,IP_1\n'
    "ISIC_0000002,A clinic,CC-BY,Benign,Benign melanocytic proliferations,Nevus,dermoscopic,IL_2,IP_1\n"
    "ISIC_0000003,A clinic,CC-BY,Benign,Benign melanocytic proliferations,Nevus,clinical: close-up,IL_2,IP_1\n"
    "ISIC_0000004,A clinic,CC-BY,Benign,Benign melanocytic proliferations,Nevus,TBP tile: close-up,IL_2,IP_1\n"
)


@pytest.mark.parametrize("packed", [False, True])
def test_archive_download_takes_most_specific_level_of_dermoscopic_images(source, tmp_path, packed):
    names = [f"ISIC_000000{number}.jpg" for number in range(1, 5)]
    path = source(*names, metadata_csv=ARCHIVE, attribution_txt="A clinic\n", licenses__CC_BY_txt="...")
    if packed:
        with zipfile.ZipFile(tmp_path / "ISIC-images.zip", "w") as archive:
            for file in sorted(path.rglob("*")):
                archive.write(file, file.relative_to(path))
        path = tmp_path / "ISIC-images.zip"
    lines = run(path)
    assert images() == ["melanoma_nos/ISIC_0000001.jpg", "nevus/ISIC_0000002.jpg"]
    assert "  images of another type than dermoscopic: clinical: close-up: 1 (ISIC_0000003.jpg); by folder: . 1" in lines
    assert "  images of another type than dermoscopic: TBP tile: close-up: 1 (ISIC_0000004.jpg); by folder: . 1" in lines
    assert table().loc["nevus/ISIC_0000002.jpg", ["license", "patient_id", "diagnosis_3"]].tolist() == ["CC-BY", "IP_1", "Nevus"]
    assert "attribution" not in table()
    assert {"attribution.txt", "licenses/CC_BY.txt"} <= {*files()}


def test_clinical_images_of_archive_on_demand(source):
    run(source(*(f"ISIC_000000{number}.jpg" for number in range(1, 5)), metadata_csv=ARCHIVE), image_type="clinical")
    assert images() == ["nevus/ISIC_0000003.jpg"]
    assert description()["image_type"] == "clinical"


def test_archive_download_without_an_image_is_refused(source):
    refused(source("ISIC_0000001.jpg", metadata_csv=ARCHIVE), "names 3 files that the source does not have, first 'ISIC_0000002'")


def test_pad_ufes_20_is_clinical(source):
    rows = "patient_id,lesion_id,age,region,fitspatrick,gender,diagnostic,img_id,smoke\nPAT_1,2,40,ARM,2.0,MALE,BCC,PAT_1_2_3.png,True\n"
    run(source("imgs_part_1/PAT_1_2_3.png", metadata_csv=rows))
    assert images() == ["bcc/PAT_1_2_3.png"]
    row = table().loc["bcc/PAT_1_2_3.png"]
    assert (row["lesion_id"], row["sex"], row["anatom_site_general"], "smoke" in row) == ("pad-ufes-20:2", "MALE", "ARM", False)
    assert row["patient_id"] == patient_key(open_key().secret, "pad-ufes-20", "PAT_1")
    assert (description()["label_set"], description()["image_type"]) == ("pad6", "clinical")


def test_isic_2020_takes_benign_where_the_diagnosis_is_unknown(source):
    rows = "image_name,patient_id,sex,age_approx,anatom_site_general_challenge,diagnosis,benign_malignant,target\n"
    rows += "ISIC_0000001,IP_1,male,45.0,head/neck,unknown,benign,0\nISIC_0000002,IP_2,female,50.0,torso,melanoma,malignant,1\n"
    run(source("train/ISIC_0000001.jpg", "train/ISIC_0000002.jpg", ISIC_2020_Training_GroundTruth_csv=rows))
    assert images() == ["benign/ISIC_0000001.jpg", "melanoma/ISIC_0000002.jpg"]
    assert description()["label_set"] == "binary"


def test_milk10k_joins_labels_by_lesion(source):
    truth = "lesion_id,AKIEC,BCC,BEN_OTH,BKL,DF,INF,MAL_OTH,MEL,NV,SCCKA,VASC\nIL_1,0,0,0,0,0,0,0,1,0,0,0\nIL_2,0,0,0,0,0,0,0,0,0,1,0\n"
    rows = "lesion_id,image_type,isic_id,attribution,copyright_license,age_approx,sex,skin_tone_class,site\n"
    for number, kind in enumerate(("clinical: close-up", "dermoscopic") * 2):
        rows += f"IL_{1 + number // 2},{kind},ISIC_000000{number},MILK study team,CC-BY-NC,50,male,3,trunk\n"
    names = [f"MILK10k_Training_Input/IL_{1 + number // 2}/ISIC_000000{number}.jpg" for number in range(4)]
    lines = run(source(*names, MILK10k_Training_GroundTruth_csv=truth, MILK10k_Training_Metadata_csv=rows))
    assert lines[0].startswith("form: milk10k (MILK10k): MILK10k_Training_GroundTruth.csv has the columns lesion_id, AKIEC")
    assert images() == ["mel/ISIC_0000001.jpg", "sccka/ISIC_0000003.jpg"]
    row = table().loc["sccka/ISIC_0000003.jpg"]
    assert (row["lesion_id"], row["anatom_site_general"], row["license"], row["diagnosis"]) == ("IL_2", "trunk", "CC-BY-NC", "SCCKA")
    assert description()["label_set"] == "ham7"


def test_folder_above_is_no_label_against_the_parent(source):
    names = [
        f"{split}/{label}/melanoma_{number}.jpg" for split in ("train", "test") for label in ("benign", "malignant") for number in (0, 1)
    ]
    lines = run(source(*names, folder="melanoma"))
    assert lines[-1] == "imported 8 files in 2 classes"
    assert {Path(name).parent.name for name in images()} == {"benign", "malignant"}
    assert table()["given_side"].value_counts().to_dict() == {"train": 4, "test": 4}
    assert description()["label_set"] == "binary"


def test_synonyms_keep_the_source_own_diagnosis(source):
    lines = run(source("nv/1.jpg", "bkl/2.jpg", "Basal Cell Carcinoma (BCC)/3.jpg", "melanocytic_Nevi/4.jpg"))
    assert images() == ["basal_cell_carcinoma/3.jpg", "bkl/2.jpg", "melanocytic_nevi/4.jpg", "nv/1.jpg"]
    assert description()["label_set"] == "isic8"
    assert any(line.split() == ["melanocytic_nevi", "nevus", "1"] for line in lines)


def test_unknown_folders_are_listed_with_counts(source):
    lines = run(source("nevus/1.jpg", "melanoma/2.jpg", "Eczema/3.jpg", "Eczema/4.jpg", "psoriasis/5.jpg"))
    assert "known to no label set: eczema 2, psoriasis 1" in lines
    assert "eczema/3.jpg" in images()


def test_dataset_of_unknown_diagnoses_has_no_label_set(source):
    lines = run(source("psoriasis/1.jpg", "eczema/2.jpg"))
    assert any(line.startswith("label set: none has a class for most images") for line in lines)
    assert description()["label_set"] is None


def test_system_files_and_masks_are_left_out_and_named(source):
    path = source(
        "nevus/1.jpg", "melanoma/2.jpg", "nevus/1_segmentation.png", "nevus/@eaDir/1.jpg/THUMB.jpg", "#recycle/nevus/3.jpg", "nevus/._1.jpg"
    )
    lines = run(path)
    assert images() == ["melanoma/2.jpg", "nevus/1.jpg"]
    assert "  masks: 1 (1_segmentation.png); by folder: nevus 1" in lines
    assert any("network drive: 3" in line for line in lines)


def test_table_with_named_columns(source):
    path = source("photos/a.jpg", "photos/b.jpg", "photos/c.jpg", list_csv="Bild;Befund;Läsion;Name\na;Nävus;1;Doe\nb.jpg;eczema;2;Roe\n")
    columns = {"Bild": "filename", "Befund": "diagnosis", "Läsion": "lesion_id"}
    lines = run(path, table=GivenTable(path / "list.csv", columns))
    assert images() == ["eczema/b.jpg", "nävus/a.jpg"]
    assert table()["lesion_id"].tolist() == ["source:1", "source:2"]
    assert "list.csv: columns left out: Name" in lines
    assert any(line.startswith("  images without a diagnosis: 1 (c.jpg)") for line in lines)
    assert "Doe" not in Path("data/metadata.csv").read_text(encoding="utf-8")
    described = {"file": "list.csv", "image_column": "Bild", "label_column": "Befund", "lesion_column": "Läsion"}
    assert description()["table"] == described
    assert read_description(Path("data/dataset.yaml")) == GivenTable(Path("list.csv"), columns, "source")


def test_table_beside_the_source_or_within_it(source, tmp_path):
    (tmp_path / "labels.csv").write_text("file,dx\na,nv\nb,mel\n")
    path = source("a.jpg", "b.jpg", sub__labels_csv="file,dx\na,mel\nb,mel\n")
    columns = {"file": "filename", "dx": "diagnosis"}
    run(path, table=GivenTable(tmp_path / "labels.csv", columns))
    assert images() == ["mel/b.jpg", "nv/a.jpg"]
    run(path, table=GivenTable(Path("labels.csv"), columns))
    assert images() == ["mel/a.jpg", "mel/b.jpg"]
    refused(path, "has no column 'x': found file, dx", table=GivenTable(tmp_path / "labels.csv", {"x": "filename"}))
    refused(path, "has 0 tables of this name", table=GivenTable(Path("none.csv"), columns))


@pytest.mark.parametrize("label", ["---", "../..", "/", "licenses", "(x)("])
def test_label_that_is_no_name_never_leaves_data(source, label):
    path = source("a.jpg", "b.jpg", metadata_csv=f"filename,diagnosis\na,{label}\nb,melanoma\n")
    assert run(path)[-1].startswith("imported ")
    assert "melanoma/b.jpg" in images()
    assert all(name.split("/")[0] in ("melanoma", "x") for name in images())
    assert not Path("/a.jpg").exists()


def test_flat_images_with_a_table_of_known_columns(source):
    lines = run(source("a.jpg", "b.jpg", metadata_csv="filename,diagnosis\na,nevus\nb,melanoma\n"))
    assert lines[0].startswith("form: table (images and a table with their diagnoses): metadata.csv names images in the column filename")
    assert images() == ["melanoma/b.jpg", "nevus/a.jpg"]


@pytest.mark.parametrize(
    ("names", "texts", "message"),
    [
        (["a.jpg", "b.jpg"], {}, "the form of this source is not known"),
        (["holiday/a.jpg", "holiday/b.jpg"], {}, "All images are in one folder, 'holiday', which no label set knows"),
        ([], {"notes_txt": "hello"}, "contains no image in JPEG, PNG, BMP, TIFF or WEBP"),
        (["nevus/a.gif"], {}, r"contains no image in JPEG, .* GIF images \(convert them to PNG and import again\): 1"),
        (
            ["nevus/a.jpg", "melanoma/b.jpg"],
            {"metadata_csv": "filename,diagnosis\na,melanoma\nb,melanoma\n"},
            "1 image has another label in a table than by the folder, first 'nevus/a.jpg': 'melanoma' in the table, 'nevus' by its folder",
        ),
        (
            ["nv/ISIC_1.jpg", "nv/ISIC_2.jpg", "bkl/ISIC_3.jpg"],
            {"metadata_csv": "lesion_id,image_id,dx\n1,ISIC_1,mel\n2,ISIC_2,bcc\n3,ISIC_3,bkl\n"},
            "2 images have another label in a table than by the folder, first 'nv/ISIC_1.jpg': 'mel' in the table, 'nv' by its folder",
        ),
        (["nevus/a.jpg"], {"metadata_csv": "filename,lesion_id\na,1\nb,2\n"}, "names 1 files that the source does not have, first 'b'"),
        (["nevus/a.jpg", "nevus/a.zip"], {}, "contains an archive: 'nevus/a.zip'"),
    ],
)
def test_refusals_change_nothing(source, names, texts, message):
    refused(source(*names, **texts), message)


def test_labels_that_differ_within_a_class_are_no_contradiction(source):
    run(source("benign keratosis/a.jpg", "nevus/b.jpg", metadata_csv="filename,diagnosis\na,solar lentigo\nb,nv\n"))
    assert images() == ["benign_keratosis/a.jpg", "nevus/b.jpg"]


def test_form_can_be_named(source):
    path = source("nevus/a.jpg", "melanoma/b.jpg", metadata_csv="lesion_id,image_id,dx\n1,a,nevus\n2,b,melanoma\n")
    assert run(path, form="folders")[0] == "form: folders (one folder per diagnosis): --form folders"
    refused(path, "there is no form 'ham'; the forms are derm7pt, ham10000, isic-archive, ", form="ham")


def test_dry_run_describes_the_plan_and_changes_nothing(source):
    path = source(*HAM_IMAGES, HAM10000_metadata_csv=HAM)
    before = project_files()
    lines = list(ingest.describe_import(path, LIMITS))
    assert lines[-1] == "dry run: 5 images in 4 classes would be imported; nothing was changed"
    assert "label set: ham7 has a class for 5 of 5 images; binary would fit all images" in lines
    assert "classes of ham7 that the dataset does not have: basal_cell_carcinoma, dermatofibroma, vascular_lesion" in lines
    assert any(line.split() == ["akiec", "actinic_keratosis_or_bowen", "1"] for line in lines)
    assert project_files() == before


def test_names_collide_across_splits(source):
    run(source("raw/Train/Nevus/b.jpg", "raw/Test/nevus/b.jpg", "raw/Test/melanoma/c.jpg"))
    assert images() == ["melanoma/c.jpg", "nevus/b.jpg", "nevus/raw_Train_b.jpg"]


def test_empty_columns_and_values_that_say_nothing_are_left_out(source):
    run(source("nevus/a.jpg", "melanoma/b.jpg", metadata_csv="filename,lesion_id,sex,license\na,1,unknown,\nb,2,female,\n"))
    assert Path("data/metadata.csv").read_text() == "filename,lesion_id,sex\nnevus/a.jpg,source:1,\nmelanoma/b.jpg,source:2,female\n"


def test_table_of_other_images_is_left_out_and_named(source):
    lines = run(source("nevus/a.jpg", "melanoma/b.jpg", others_csv="image,sex\nx,male\n"))
    assert "  tables that name no image of this source: 1 (others.csv); by folder: . 1" in lines


def test_inner_archive_with_unsafe_name_is_refused(tmp_path):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("../../x.jpg", IMAGE)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("HAM10000_metadata.csv", HAM)
        archive.writestr("HAM10000_images_part_1.zip", inner.getvalue())
    refused(tmp_path / "x.zip", "points outside the archive")


def test_forms_name_shipped_label_sets():
    shipped = {path.stem for path in (ROOT / "labels").glob("*.yaml")}
    assert {name for form in forms().values() for name in form.label_sets} <= shipped


def add(path: Path, **contents: bytes) -> Path:
    """Write files with given bytes; `__` in a name is a slash, and its last `_` the dot."""
    for name, content in contents.items():
        file = path / ".".join(name.replace("__", "/").rsplit("_", 1))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return path


PICTURE = noise(5, 32)
BMP, TIFF = encoded(PICTURE, "BMP"), encoded(PICTURE, "TIFF")


def test_other_formats_are_converted_and_counted(source):
    others = {"melanoma__c_tif": TIFF, "melanoma__c_webp": encoded(PICTURE, "WEBP"), "nevus__d_jfif": IMAGE}
    path = add(source("nevus/a.jpg"), nevus__b_BMP=BMP, **others)
    lines = run(path)
    assert images() == ["melanoma/c.png", "melanoma/c_webp.png", "nevus/a.jpg", "nevus/b.png", "nevus/d.jpg"]
    assert "converted to PNG without loss: BMP 1, TIFF 1, WEBP 1" in lines
    assert "renamed to .jpg: JFIF 1" in lines
    assert lines[-1] == "imported 5 files in 2 classes"
    assert Path("data/nevus/d.jpg").read_bytes() == IMAGE
    assert Image.open("data/nevus/b.png").tobytes() == PICTURE.tobytes()


def test_zip_of_bmps_with_a_table(source, tmp_path):
    folder = add(source(metadata_csv="filename,lesion_id\nIMD003.bmp,1\nIMD405,2\n"), nevus__IMD003_bmp=BMP, melanoma__IMD405_bmp=BMP)
    with zipfile.ZipFile(tmp_path / "ph2.zip", "w") as archive:
        for path in folder.rglob("*.*"):
            archive.write(path, path.relative_to(folder))
    run(tmp_path / "ph2.zip")
    assert images() == ["melanoma/IMD405.png", "nevus/IMD003.png"]
    assert table()["lesion_id"].to_dict() == {"nevus/IMD003.png": "ph2:1", "melanoma/IMD405.png": "ph2:2"}


def test_ph2_in_folders_of_diagnoses(source):
    contents = {}
    for folder in ("atypical nevus__IMD002", "melanoma__IMD405"):
        image = folder.rpartition("__")[2]
        contents |= {f"{folder}__{image}_Dermoscopic_Image__{image}_bmp": BMP, f"{folder}__{image}_lesion__{image}_lesion_bmp": BMP}
    lines = run(add(source(), **contents))
    assert images() == ["atypical_nevus/IMD002.png", "melanoma/IMD405.png"]
    assert any(line.startswith("  masks: 2 (IMD002_lesion.bmp, IMD405_lesion.bmp)") for line in lines)


PH2 = """\
||   Name || Histological Diagnosis || Clinical Diagnosis || Asymmetry | Pigment Network | Dots/Globules ||     Colors ||
|| IMD002 ||                        ||                  0 ||         0 |               T |            A  ||       4    ||
|| IMD003 ||       Melanoma in situ ||                  2 ||         2 |              AT |           AT  ||    3  4    ||
|| IMD004 ||                        ||                  1 ||         1 |               T |            A  ||       4    ||

Legends:
Clinical Diagnosis:
  0 - Common Nevus; 1 - Atypical Nevus; 2 - Melanoma.
"""


def test_ph2_is_labeled_by_its_table(source):
    contents = {}
    for image in ("IMD002", "IMD003", "IMD004"):
        folder = f"PH2 Dataset images__{image}__{image}"
        contents |= {f"{folder}_Dermoscopic_Image__{image}_bmp": BMP, f"{folder}_lesion__{image}_lesion_bmp": BMP}
        contents[f"{folder}_roi__{image}_R1_Label4_bmp"] = BMP
    path = add(source(readme_txt="PH2\n"), **contents)
    (path / "PH2_dataset.txt").write_text(PH2, encoding="utf-8")
    lines = run(path)
    expected = "form: ph2 (PH2): PH2_dataset.txt has the columns Name, Histological Diagnosis, Clinical Diagnosis"
    assert lines[0] == expected
    assert images() == ["atypical_nevus/IMD004.png", "common_nevus/IMD002.png", "melanoma/IMD003.png"]
    assert any(line.startswith("  masks: 6 (") for line in lines)
    assert any(line.startswith("  not images: 1 (readme.txt)") for line in lines)
    left_out = "PH2_dataset.txt: columns left out: Histological Diagnosis, Asymmetry, Pigment Network, Dots/Globules, Colors"
    assert left_out in lines
    assert (description()["form"], description()["label_set"]) == ("ph2", "isic9")
    assert "  atypical_nevus  nevus          1" in lines


def test_table_whose_column_of_names_is_no_image_is_named(source):
    lines = run(source("nevus/a.jpg", "melanoma/b.jpg", patients_csv="name,born\nAda,1815\n"))
    assert any("tables without a column that names images: 1 (patients.csv)" in line for line in lines)


def test_file_that_cannot_be_converted_is_refused_by_name(source):
    path = add(source("nevus/a.jpg"), melanoma__b_bmp=BMP, melanoma__c_bmp=BMP[:200])
    refused(path, r"'melanoma/c.bmp' cannot be converted to PNG: truncated or corrupt: .*; nothing was imported")


def test_interrupted_conversion_resumes(source, monkeypatch):
    path = add(source("nevus/a.jpg"), melanoma__b_bmp=BMP, melanoma__c_bmp=BMP)
    converted: list[str] = []

    def convert(content, image_format):
        if len(converted) == 1:
            converted.append("interrupted")
            raise KeyboardInterrupt
        converted.append(image_format)
        return to_png(content, image_format)

    monkeypatch.setattr(ingest, "convert", convert)
    with pytest.raises(KeyboardInterrupt):
        run(path)
    assert images() == ["nevus/old.jpg"]
    assert run(path)[-1] == "imported 3 files in 2 classes"
    assert converted == ["BMP", "interrupted", "BMP"]
    assert images() == ["melanoma/b.png", "melanoma/c.png", "nevus/a.jpg"]


def test_images_without_their_metadata_are_kept_when_an_import_resumes(source, monkeypatch):
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Doe"
    path = add(source("nevus/a.jpg", "nevus/b.jpg"), melanoma__c_jpg=encoded(PICTURE, exif=exif), melanoma__d_png=encoded(PICTURE, "PNG"))
    cleaned: list[str] = []

    def clean(content):
        cleaned.append("file")
        if len(cleaned) == 4:
            raise KeyboardInterrupt
        return without_metadata(content)

    monkeypatch.setattr(ingest, "without_metadata", clean)
    with pytest.raises(KeyboardInterrupt):
        run(path)
    assert run(path)[-1] == "imported 4 files in 2 classes"
    assert len(cleaned) == 5
    assert Path("data/melanoma/c.jpg").read_bytes() == encoded(PICTURE)


ISIC_2020 = "image_name,patient_id,sex,diagnosis,benign_malignant\n" + "".join(
    f"ISIC_{number},IP_{patient},male,{diagnosis},{outcome}\n"
    for number, patient, diagnosis, outcome in ((1, 1, "nevus", "benign"), (2, 1, "nevus", "benign"), (3, 1, "nevus", "benign"))
)
ISIC_2020 += "ISIC_4,IP_2,male,melanoma,malignant\nISIC_5,IP_3,male,melanoma,malignant\n"


def test_duplicates_of_isic2020_are_one_lesion(source):
    pairs = "image_name_1,image_name_2\nISIC_1,ISIC_3\nISIC_3,ISIC_2\nISIC_4,ISIC_5\nISIC_4,ISIC_9\n"
    names = [f"train/ISIC_{number}.jpg" for number in range(1, 6)]
    lines = run(source(*names, train_csv=ISIC_2020, ISIC_2020_Training_Duplicates_csv=pairs))
    listed = "ISIC_2020_Training_Duplicates.csv"
    assert f"{listed}: 1 groups of duplicates are one lesion each" in lines
    apart = "train/ISIC_4.jpg, train/ISIC_5.jpg"
    assert f"{listed}: 1 groups of duplicates have several lesions or patients and were not joined, first {apart}" in lines
    assert f"{listed}: 1 pairs name images that are not here, first ISIC_4 and ISIC_9" in lines
    assert table()["lesion_id"].dropna().to_dict() == {f"nevus/ISIC_{number}.jpg": "ISIC_1" for number in (1, 2, 3)}


def test_duplicates_take_the_lesion_that_one_of_them_has(source):
    labels = "image_name,patient_id,lesion_id,diagnosis,benign_malignant\na,1,,nevus,benign\nb,1,L7,nevus,benign\n"
    labels += "c,2,L1,melanoma,malignant\nd,2,L2,melanoma,malignant\n"
    path = source("a.jpg", "b.jpg", "c.jpg", "d.jpg", train_csv=labels, list_csv="image_name_1,image_name_2\na,b\nc,d\n")
    lines = run(path)
    assert table()["lesion_id"].tolist() == ["isic2020:L7", "isic2020:L7", "isic2020:L1", "isic2020:L2"]
    assert "list.csv: 1 groups of duplicates have several lesions or patients and were not joined, first c.jpg, d.jpg" in lines
