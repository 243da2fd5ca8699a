"""Imports of HEIC and DICOM, with and without the optional packages."""

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pillow_heif
import pytest
from PIL import ExifTags, Image

from app.data import ingest, members
from app.data.conversion import to_png
from app.data.recognition import ImportOptions
from components.core.errors import LesionflowError
from components.imaging.images import decode
from components.runtime.params import ImportLimits
from tests.support.dicom import dicom, dicom_with_jpeg
from tests.support.images import encoded, noise

pytestmark = pytest.mark.usefixtures("project")
LIMITS = ImportLimits(max_files=200, max_file_mb=16, max_total_gb=0.05, max_ratio=200)
PICTURE = noise(3, 32)


def heic(image: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    pillow_heif.from_pillow(image).save(stream, quality=-1, **options)
    return stream.getvalue()


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def run(path: Path, **options: Any) -> list[str]:
    return list(ingest.import_dataset(path, LIMITS, ImportOptions(**options)))


def images() -> list[str]:
    return sorted(path.relative_to("data").as_posix() for path in Path("data").rglob("*") if path.suffix in (".jpg", ".png"))


def refused(path: Path, message: str) -> None:
    with pytest.raises(LesionflowError, match=message) as error:
        run(path)
    assert "\n" not in str(error.value) and str(error.value).endswith("nothing was imported")
    assert images() == ["nevus/old.jpg"]


def test_heic_becomes_png_with_its_pixels():
    content = heic(PICTURE)
    expected = np.asarray(pillow_heif.open_heif(io.BytesIO(content)).to_pillow())
    png = to_png(content, "HEIC")
    assert png.startswith(b"\x89PNG") and np.array_equal(np.asarray(decode(png)), expected)


def test_heic_is_turned_upright_and_loses_its_metadata():
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation], tags[ExifTags.Base.Artist] = 6, "Mustermann"
    wide = PICTURE.resize((48, 32))
    content = heic(wide, exif=tags.tobytes())
    assert b"Mustermann" in content and b"Mustermann" not in to_png(content, "HEIC")
    shown = Image.open(io.BytesIO(to_png(content, "HEIC")))
    with Image.open(io.BytesIO(encoded(wide, exif=tags))) as jpeg:
        assert shown.size == decode(encoded(jpeg, exif=tags)).size
    assert not shown.getexif()


def test_dicom_and_heic_are_imported_and_dicom_gets_new_names(tmp_path):
    jpeg = encoded(PICTURE)
    person = {"PatientID": "MRN-17", "PatientName": "Mustermann^Max", "PatientSex": "M", "PatientAge": "052Y"}
    source = write(
        tmp_path / "clinic",
        {
            "melanoma/Mustermann.dcm": dicom(jpeg, "YBR_FULL_422", **person),
            "melanoma/b.DCM": dicom(np.asarray(PICTURE), **person),
            "nevus/ISIC_0000001.dcm": dicom_with_jpeg(PICTURE),
            "nevus/c.heic": heic(PICTURE),
        },
    )
    lines = run(source)
    assert lines[-1] == "imported 4 files in 2 classes"
    assert "converted to PNG without loss: HEIC 1" in lines
    assert "DICOM: 2 are stored as the JPEG that they hold, 1 are converted to PNG" in lines
    names = images()
    assert names[2:] == ["nevus/ISIC_0000001.jpg", "nevus/c.png"]
    assert all(re.fullmatch(r"melanoma/img_[0-9a-f]{16}\.(jpg|png)", name) for name in names[:2])
    assert sorted(Path(name).suffix for name in names[:2]) == [".jpg", ".png"]
    for name in names[:2]:
        if name.endswith(".jpg"):
            assert (Path("data") / name).read_bytes() == jpeg
    rows = pd.read_csv("data/metadata.csv", dtype=str).set_index("filename")
    assert rows.loc[names[:2], ["sex", "age_approx"]].to_numpy().tolist() == [["male", "52"]] * 2
    assert rows.loc[names[:2], "patient_id"].str.fullmatch("P_[0-9a-f]{16}").all() and rows["patient_id"].nunique() == 1
    assert "Mustermann" not in Path("data/metadata.csv").read_text()
    before = names
    run(source)
    assert images() == before


def test_table_goes_before_the_header(tmp_path):
    files = {f"{name}.dcm": dicom_with_jpeg(PICTURE, PatientID=name, PatientAge="050Y", PatientSex="F") for name in "ab"}
    table = "filename,diagnosis,patient_id,age\na.dcm,nevus,P1,40\nb,melanoma,,\n"
    run(write(tmp_path / "source", {**files, "list.csv": table.encode()}))
    rows = pd.read_csv("data/metadata.csv", dtype=str).set_index("diagnosis")
    assert rows["age_approx"].to_dict() == {"nevus": "40", "melanoma": "50"}
    assert rows["sex"].to_dict() == {"nevus": "female", "melanoma": "female"}
    assert rows["patient_id"].nunique() == 2


def test_broken_files_are_counted_by_format(tmp_path):
    broken = {"melanoma/a.dcm": b"\0" * 128 + b"DICM" + b"\0" * 64, "melanoma/b.heic": b"\0\0\0\x18ftypheic" + b"\0" * 76}
    source = write(tmp_path / "source", {"melanoma/good.jpg": encoded(PICTURE), "nevus/good.jpg": encoded(noise(4)), **broken})
    lines = run(source)
    for image_format, name in (("DICOM", "a.dcm"), ("HEIC", "b.heic")):
        reason = f"  {image_format} images that cannot be read (export them as PNG or JPEG and import again): 1 ({name})"
        assert any(line.startswith(reason) for line in lines), lines
    assert images() == ["melanoma/good.jpg", "nevus/good.jpg"]


@pytest.mark.parametrize(
    ("elements", "message"),
    [({"NumberOfFrames": 2}, "'nevus/b.dcm' has 2 frames"), ({"BurnedInAnnotation": "YES"}, "'nevus/b.dcm' has BurnedInAnnotation YES")],
)
def test_dicom_with_frames_or_names_in_pixels_is_refused(tmp_path, elements, message):
    refused(write(tmp_path / "s", {"nevus/a.jpg": encoded(PICTURE), "nevus/b.dcm": dicom_with_jpeg(PICTURE, **elements)}), message)


def test_without_the_packages_files_are_left_out_with_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(members, "is_installed", lambda _: False)
    source = write(tmp_path / "source", {"nevus/a.jpg": encoded(PICTURE), "nevus/b.dcm": b"", "nevus/c.HEIC": b"", "nevus/d.heif": b""})
    lines = run(source)
    assert any(line.startswith("  DICOM images (run `pip install pydicom`, or export them as PNG or JPEG, and ") for line in lines)
    assert any(line.startswith("  HEIC images (run `pip install pillow-heif`, or export them as PNG or JPEG, and ") for line in lines)
    assert images() == ["nevus/a.jpg"]


class Sparse(io.FileIO):
    """A file in which zeros take no space."""

    def write(self, data: Any) -> int:
        view = memoryview(data)
        if len(view) > 4096 and not any(bytes(view)):
            self.seek(len(view), io.SEEK_CUR)
            return len(view)
        return super().write(view)


def test_zip_whose_dicoms_exceed_the_total_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    path = tmp_path / "big.zip"
    with Sparse(path, "w") as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for number in range(4):
            archive.writestr(f"nevus/{number}.dcm", bytes(15 * 2**20))
    monkeypatch.setattr("app.data.source_headers.read_header", lambda _: pytest.fail("a member was unpacked"))
    refused(path, r"'nevus/3.dcm' exceeds the total limit of 0.05 GB \(import.max_total_gb\)")
