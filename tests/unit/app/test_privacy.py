"""Names and ids that are planted in a source are nowhere in what an import and the first stages write."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from app.data import ingest
from app.data.recognition import ImportOptions
from app.data.source_tables import GivenTable
from components import split, validate
from components.runtime.params_file import parse
from tests.support.dicom import dicom, dicom_with_jpeg
from tests.support.images import encoded, textured
from tests.support.planted import ACCESSION, BIRTH_DATE, MRN, NAME, PLANTED, exif, found_in, png_with_text, with_exif
from tests.support.versioned import template, versioned

__all__ = ["template", "versioned"]

pytestmark = pytest.mark.slow
IMAGES = 24
COLUMNS = {"Photo": "filename", "Finding": "diagnosis", "Case": "lesion_id", "Person": "patient_id"}
PERSON = {"PatientName": f"{NAME}^Max", "PatientID": MRN, "PatientBirthDate": BIRTH_DATE.replace("-", ""), "AccessionNumber": ACCESSION}


def write_source(folder: Path) -> Path:
    """Images of each format with a table, all of which name the patient wherever they can."""
    folder.mkdir()
    rows = []
    for number in range(IMAGES):
        image, name = textured(number, 80, 64), f"{NAME}_{number}"
        files = {
            ".jpg": with_exif(encoded(image)),
            ".png": png_with_text(image),
            ".webp": encoded(image, "WEBP", lossless=True, exif=exif()),
            ".dcm": dicom_with_jpeg(image, **PERSON) if number % 2 else dicom(np.asarray(image), **PERSON),
        }
        suffix = sorted(files)[number % 4]
        assert any(word.encode() in files[suffix] for word in PLANTED)
        (folder / f"{name}{suffix}").write_bytes(files[suffix])
        finding = "nevus" if number % 3 else "melanoma"
        patient = MRN if number < 4 else f"{MRN}{number}"
        rows.append((name, finding, f"{patient}-{number}", patient, NAME, BIRTH_DATE, ACCESSION, BIRTH_DATE))
    header = [*COLUMNS, "Name", "Birth date", "Accession", "Age"]
    pd.DataFrame(rows, columns=header).to_csv(folder / "list.csv", index=False)
    (folder / "letter.txt").write_text(f"Dear {NAME}", encoding="utf-8")
    return folder


def test_planted_names_and_ids_are_nowhere(versioned, tmp_path, params, pseudonym_key):
    source = write_source(tmp_path / "clinic")
    assert {line.rpartition(": ")[2] for line in found_in(source)} == {*PLANTED}
    lines = list(ingest.import_dataset(source, options=ImportOptions(table=GivenTable(Path("list.csv"), COLUMNS))))
    assert lines[-1] == f"imported {IMAGES} files in 2 classes"
    assert "list.csv: columns left out: Name, Birth date, Accession" in lines
    params["validate"]["min_images_per_class"] = 2
    settings = parse(params)
    validate.validate(settings)
    split.split(settings)
    catalog = pd.read_parquet("build/catalog.parquet")
    assert len(catalog) == IMAGES and catalog["usable"].all()
    assert catalog["patient_id"].nunique() == IMAGES - 3
    assert found_in(versioned, [*PLANTED, BIRTH_DATE.replace("-", ""), pseudonym_key.read_text().strip()]) == []
    written = [path for folder in ("data", "build", "reports", ".dvc/cache") for path in (versioned / folder).rglob("*") if path.is_file()]
    assert len(written) > 2 * IMAGES
