"""Import from the ISIC Archive with a fake of the official command line, which writes the same files as its version 12.4."""

import os
import stat
import sys

import pandas as pd
import pytest

from app.data import isic
from components.core.errors import LesionflowError
from components.data_quality.label_definitions import read_definition
from components.runtime.params import ImportLimits
from tests.support.images import encoded, noise
from tests.support.project import ROOT

LIMITS = ImportLimits(max_files=50, max_file_mb=16, max_total_gb=0.05, max_ratio=200)
RECORDS = [
    {"isic_id": "ISIC_0000001", "diagnosis_1": "Benign", "diagnosis_3": "Nevus", "diagnosis_4": "Nevus, Congenital", "lesion_id": "IL_1"},
    {"isic_id": "ISIC_0000002", "diagnosis_1": "Malignant", "diagnosis_2": "Malignant melanocytic proliferations (Melanoma)"},
    {"isic_id": "ISIC_0000003", "diagnosis_1": "Benign", "diagnosis_3": "Solar lentigo"},
    {"isic_id": "ISIC_0000004", "diagnosis_1": "Benign"},
    {"isic_id": "ISIC_0000005"},
]

FAKE_ISIC_CLI = """import csv, json, sys
from pathlib import Path
calls = Path({calls!r})
calls.write_text((calls.read_text() if calls.exists() else "") + json.dumps(sys.argv[1:]) + chr(10))
records, image, missing, fails = json.loads({records!r}), bytes.fromhex({image!r}), {missing!r}, {fails!r}
out = Path(sys.argv[-1])
out.mkdir(parents=True, exist_ok=True)
for record in records:
    if record["isic_id"] not in missing:
        (out / (record["isic_id"] + ".jpg")).write_bytes(image + record["isic_id"].encode())
if fails:
    sys.exit(1)
fields = ["isic_id", "attribution", "copyright_license"]
fields += sorted({{name for record in records for name in record}} - set(fields))
with (out / "metadata.csv").open("w", newline="", encoding="utf8") as stream:
    writer = csv.DictWriter(stream, fields)
    writer.writeheader()
    writer.writerows([{{"attribution": "Some clinic", "copyright_license": "CC-BY", **record}} for record in records])
(out / "attribution.txt").write_text("Some clinic")
(out / "licenses").mkdir(exist_ok=True)
(out / "licenses" / "CC-BY.txt").write_text("...")
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install the fake `isic` command on PATH and return the file that records its calls."""

    def install_command(missing=(), fails=False):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        import json

        text = FAKE_ISIC_CLI.format(
            calls=str(tmp_path / "calls"),
            records=json.dumps(RECORDS),
            image=encoded(noise(1)).hex(),
            missing=list(missing),
            fails=fails,
        )
        program = folder / "program.py"
        program.write_text(text)
        # A `#!` line does not support paths with spaces.
        (folder / "isic").write_text(f'#!/bin/sh\nexec "{sys.executable}" "{program}" "$@"\n')
        (folder / "isic").chmod(stat.S_IRWXU)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        return tmp_path / "calls"

    return install_command


def test_import_isic_writes_images_metadata_and_licenses(project, install):
    calls = install()
    output = "\n".join(isic.import_isic("212,65", "diagnosis_3:Nevus", 5, LIMITS))
    assert calls.read_text().startswith(
        '["image", "download", "--collections", "212,65", "--search", "diagnosis_3:Nevus", "--limit", "5", '
    )
    files = sorted(path.relative_to(project / "data").as_posix() for path in (project / "data").rglob("*") if path.is_file())
    assert files == [
        "attribution.txt",
        "benign/ISIC_0000004.jpg",
        "dataset.yaml",
        "licenses/CC-BY.txt",
        "malignant_melanocytic_proliferations/ISIC_0000002.jpg",
        "metadata.csv",
        "nevus_congenital/ISIC_0000001.jpg",
        "solar_lentigo/ISIC_0000003.jpg",
    ]
    table = pd.read_csv(project / "data/metadata.csv", dtype=str).set_index("filename")
    row = table.loc["nevus_congenital/ISIC_0000001.jpg"]
    assert (row["diagnosis"], row["diagnosis_3"], row["lesion_id"], row["license"]) == ("Nevus, Congenital", "Nevus", "IL_1", "CC-BY")
    assert "source: 'ISIC Archive: collections 212,65, search diagnosis_3:Nevus, limit 5'" in (project / "data/dataset.yaml").read_text()
    assert output.endswith("imported 4 files in 4 classes")
    assert "  images without a diagnosis: 1 (ISIC_0000005.jpg); by folder: . 1" in output
    assert not list((project / isic.DOWNLOADS).iterdir())


def test_import_isic_adds_to_dataset_and_names_images_that_are_there(project, install):
    install()
    (project / "data/solar_lentigo").mkdir()
    (project / "data/solar_lentigo/ISIC_0000003.jpg").write_bytes(b"at another size")
    lines = list(isic.import_isic("", "", 5, LIMITS, add=True))
    assert "already in data/ and not added again: 1 (ISIC_0000003.jpg as solar_lentigo/ISIC_0000003.jpg)" in lines
    assert lines[-1] == "added 3 files; imported 5 files in 5 classes"
    assert (project / "data/nevus/old.jpg").exists()
    assert "source: 'ISIC Archive: collections all, search none, limit 5'" in (project / "data/dataset.yaml").read_text()


def test_import_isic_resumes_when_images_are_missing(project, install):
    install(missing=["ISIC_0000002"])
    with pytest.raises(LesionflowError, match=r"1 images were not downloaded, first ISIC_0000002\. Run the same import again"):
        list(isic.import_isic("", "", 5, LIMITS))
    assert (project / "data/nevus/old.jpg").exists()
    assert len(list((project / isic.DOWNLOADS).rglob("*.jpg"))) == 4
    install()
    list(isic.import_isic("", "", 5, LIMITS))
    assert (project / "data/malignant_melanocytic_proliferations/ISIC_0000002.jpg").exists()


def test_import_isic_keeps_dataset_when_download_fails(project, install):
    install(fails=True)
    with pytest.raises(LesionflowError, match=r"failed with exit code 1\. Downloaded files are kept"):
        list(isic.import_isic("65", "", 0, LIMITS))
    assert (project / "data/nevus/old.jpg").exists()


def test_import_isic_names_package_when_command_is_missing(project, monkeypatch):
    monkeypatch.setenv("PATH", str(project))
    with pytest.raises(LesionflowError, match="pip install isic-cli"):
        list(isic.import_isic("65", "", 0, LIMITS))


def test_import_isic_rejects_download_of_whole_archive(project, install):
    calls = install()
    with pytest.raises(LesionflowError, match="Use --collection"):
        list(isic.import_isic("", "", 0, LIMITS))
    assert not calls.exists()
    assert (project / "data/nevus/old.jpg").exists()


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (("Nevus", "Benign melanocytic proliferations"), "nevus"),
        (("Melanoma Invasive, resembling blue nevus", "Malignant melanocytic proliferations (Melanoma)"), "melanoma"),
        (("Hemangioma", "Benign soft tissue proliferations - Vascular"), "vascular_lesion"),
        (("Hemorrhagic lesions",), "vascular_lesion"),
        (("Nevus anemicus", "Benign soft tissue proliferations - Vascular"), None),
        (("Glomus tumor", "Benign soft tissue proliferations - Vascular"), None),
        (("Solar or actinic keratosis",), "actinic_keratosis"),
        (("Squamous cell carcinoma in situ",), "squamous_cell_carcinoma"),
        (("Squamous cell carcinoma, Invasive",), "squamous_cell_carcinoma"),
        (("Squamous cell carcinoma, NOS",), "squamous_cell_carcinoma"),
        (("Malignant",), None),
    ],
)
def test_label_set_knows_the_archive_diagnoses(levels, expected):
    assert read_definition(ROOT / "labels/isic9.yaml").class_of_levels(levels) == expected
