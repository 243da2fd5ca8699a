"""Synthetic datasets in the forms that people have: each function writes a source for `lesionflow import`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from components.synthetic import dataset
from tests.support.planted import BIRTH_DATE, MRN, NAME, with_exif

LESIONS = 14
"""Lesions of each diagnosis; about 20 images, since some lesions have several."""
HAM10000 = {
    "actinic_keratosis": "akiec",
    "basal_cell_carcinoma": "bcc",
    "pigmented_benign_keratosis": "bkl",
    "dermatofibroma": "df",
    "melanoma": "mel",
    "nevus": "nv",
    "vascular_lesion": "vasc",
}
"""Drawn diagnosis of each code."""
ISIC2019 = {
    "melanoma": "MEL",
    "nevus": "NV",
    "basal_cell_carcinoma": "BCC",
    "actinic_keratosis": "AK",
    "seborrheic_keratosis": "BKL",
    "dermatofibroma": "DF",
    "vascular_lesion": "VASC",
    "squamous_cell_carcinoma": "SCC",
}
PAD = {
    "actinic_keratosis": "ACK",
    "basal_cell_carcinoma": "BCC",
    "melanoma": "MEL",
    "nevus": "NEV",
    "squamous_cell_carcinoma": "SCC",
    "seborrheic_keratosis": "SEK",
}
RASH = {
    "nevus": "eczema",
    "melanoma": "psoriasis",
    "vascular_lesion": "rosacea",
    "seborrheic_keratosis": "phymatous rosacea",
    "dermatofibroma": "acne",
}
RASH_LABELS = """description: four inflammatory diseases
critical: null
classes:
  acne: {title: acne, plain: pimples}
  eczema: {title: eczema, plain: itchy skin}
  psoriasis: {title: psoriasis, plain: scaly skin}
  rosacea: {title: rosacea, plain: redness of the face, includes: [phymatous rosacea]}
"""
ARCHIVE = {
    "melanoma": ("Malignant", "Malignant melanocytic proliferations (Melanoma)", "Melanoma, NOS"),
    "nevus": ("Benign", "Benign melanocytic proliferations", "Nevus"),
    "basal_cell_carcinoma": ("Malignant", "Malignant adnexal epithelial proliferations", "Basal cell carcinoma"),
    "seborrheic_keratosis": ("Benign", "Benign epidermal proliferations", "Seborrheic keratosis"),
}
DERM7PT = {
    "melanoma": "melanoma (less than 0.76 mm)",
    "nevus": "blue nevus",
    "basal_cell_carcinoma": "basal cell carcinoma",
    "seborrheic_keratosis": "seborrheic keratosis",
}
MILK10K = {**{name: code.upper() for name, code in HAM10000.items()}, "squamous_cell_carcinoma": "SCCKA"}
PH2 = {"nevus": "0", "seborrheic_keratosis": "1", "melanoma": "2"}


@dataclass(frozen=True)
class Form:
    """A form, how its source is written, and what an import and a run make of it."""

    name: str
    write: Callable[[Path], None]
    label_set: str
    outputs: tuple[str, ...]
    labels: dict[str, str] = field(default_factory=dict)
    """Label sets of the lab's own: file in labels/ and its content."""


def drawn(scratch: Path, diagnoses: dict[str, str] | dict[str, tuple[str, ...]]) -> pd.DataFrame:
    """Draw images of these diagnoses; return a row per image with its file, its lesion, a patient of up to two lesions, age and sex."""
    dataset.write_dataset(scratch, dict.fromkeys(diagnoses, LESIONS), seed=5, size=72)
    table = pd.read_csv(scratch / "metadata.csv")
    number = pd.Series(pd.factorize(table["lesion_id"])[0])
    table["file"] = [scratch / name for name in table["filename"]]
    table["patient"] = [f"P{lesion // 2:04d}" for lesion in number]
    table["age"], table["sex"] = 20 + number % 60, np.where(number % 3, "male", "female")
    table["given"] = table["diagnosis"].map(diagnoses)
    return table


def move(table: pd.DataFrame, folder: Path, names: "pd.Series[str]") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file, name in zip(table["file"], names, strict=True):
        file.rename(folder / name)


def write_ham10000(root: Path) -> None:
    """As Kaggle gives it: two flat folders and HAM10000_metadata.csv."""
    table = drawn(root / "scratch", HAM10000)
    half = table.index % 2 == 0
    for part, rows in (("HAM10000_images_part_1", table[half]), ("HAM10000_images_part_2", table[~half])):
        move(rows, root / part, rows["isic_id"] + ".jpg")
    columns = {"lesion_id": "lesion_id", "isic_id": "image_id", "given": "dx", "age": "age", "sex": "sex"}
    rows = table[list(columns)].rename(columns=columns).assign(dx_type="histo", localization="back")
    rows.to_csv(root / "HAM10000_metadata.csv", index=False)
    (root / "hmnist_28_28_RGB.csv").write_text("pixel0000\n0\n")


def one_hot(table: pd.DataFrame, codes: list[str], key: str = "isic_id") -> pd.DataFrame:
    return pd.DataFrame({"image": table[key], **{code: (table["given"] == code).astype(float) for code in codes}})


def write_isic2018(root: Path) -> None:
    table = drawn(root / "scratch", {name: code.upper() for name, code in HAM10000.items()})
    move(table, root / "ISIC2018_Task3_Training_Input", table["isic_id"] + ".jpg")
    codes = ["MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"]
    one_hot(table, codes).to_csv(root / "ISIC2018_Task3_Training_GroundTruth.csv", index=False)
    groups = pd.DataFrame({"image": table["isic_id"], "lesion_id": table["lesion_id"], "diagnosis_confirm_type": "histopathology"})
    groups.to_csv(root / "ISIC2018_Task3_Training_LesionGroupings.csv", index=False)


def write_isic2019(root: Path) -> None:
    table = drawn(root / "scratch", ISIC2019)
    move(table, root / "ISIC_2019_Training_Input", table["isic_id"] + ".jpg")
    one_hot(table, ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"]).to_csv(root / "ISIC_2019_GroundTruth.csv", index=False)
    columns = {"isic_id": "image", "age": "age_approx", "lesion_id": "lesion_id", "sex": "sex"}
    table[list(columns)].rename(columns=columns).to_csv(root / "ISIC_2019_Metadata.csv", index=False)


def write_isic2020(root: Path) -> None:
    table = drawn(root / "scratch", {"melanoma": "melanoma", "nevus": "nevus", "seborrheic_keratosis": "unknown"})
    move(table, root / "train", table["isic_id"] + ".jpg")
    columns = {"isic_id": "image_name", "patient": "patient_id", "sex": "sex", "age": "age_approx", "given": "diagnosis"}
    rows = table[list(columns)].rename(columns=columns)
    rows["benign_malignant"] = np.where(rows["diagnosis"] == "melanoma", "malignant", "benign")
    rows.to_csv(root / "train.csv", index=False)


def write_archive(root: Path) -> None:
    table = drawn(root / "scratch", ARCHIVE)
    move(table, root, table["isic_id"] + ".jpg")
    levels = pd.DataFrame(table["given"].tolist(), columns=["diagnosis_1", "diagnosis_2", "diagnosis_3"])
    known = pd.DataFrame({"isic_id": table["isic_id"], "lesion_id": table["lesion_id"]})
    known = known.assign(copyright_license="CC-0", image_type="dermoscopic")
    pd.concat([known, levels], axis=1).to_csv(root / "metadata.csv", index=False)


def write_pad(root: Path) -> None:
    table = drawn(root / "scratch", PAD)
    move(table, root / "images", table["isic_id"] + ".jpg")
    lesions = pd.Series(pd.factorize(table["lesion_id"])[0]).astype(str)
    rows = {"img_id": table["isic_id"] + ".jpg", "patient_id": table["patient"], "lesion_id": lesions, "age": table["age"]}
    pd.DataFrame({**rows, "diagnostic": table["given"], "fitspatrick": 2}).to_csv(root / "metadata.csv", index=False)


def write_derm7pt(root: Path) -> None:
    """A clinical photograph beside each dermoscopic image."""
    table = drawn(root / "scratch", DERM7PT)
    images = root / "images" / "NEL"
    images.mkdir(parents=True)
    for file, name in zip(table["file"], table["isic_id"], strict=True):
        (images / f"{name}_clinic.jpg").write_bytes(file.read_bytes())
    move(table, images, table["isic_id"] + "_derm.jpg")
    paths = {kind: "NEL/" + table["isic_id"] + f"_{kind}.jpg" for kind in ("clinic", "derm")}
    rows = pd.DataFrame({"case_num": table.index, "diagnosis": table["given"], "sex": table["sex"], "location": "back", **paths})
    (root / "meta").mkdir()
    rows.to_csv(root / "meta" / "meta.csv", index=False)


def write_milk10k(root: Path) -> None:
    """One column per diagnosis for each lesion, and a close-up beside each dermoscopic image."""
    table = drawn(root / "scratch", MILK10K)
    images = root / "MILK10k_Training_Input"
    images.mkdir(parents=True)
    for file, name in zip(table["file"], table["isic_id"], strict=True):
        (images / f"{name}9.jpg").write_bytes(file.read_bytes())
    move(table, images, table["isic_id"] + ".jpg")
    codes = ["AKIEC", "BCC", "BEN_OTH", "BKL", "DF", "INF", "MAL_OTH", "MEL", "NV", "SCCKA", "VASC"]
    truth = one_hot(table.drop_duplicates("lesion_id"), codes, key="lesion_id").rename(columns={"image": "lesion_id"})
    truth.to_csv(root / "MILK10k_Training_GroundTruth.csv", index=False)
    rows = table[["lesion_id", "isic_id", "age", "sex"]].rename(columns={"age": "age_approx"}).assign(site="trunk")
    close_ups = rows.assign(isic_id=rows["isic_id"] + "9", image_type="clinical: close-up")
    pd.concat([rows.assign(image_type="dermoscopic"), close_ups]).to_csv(root / "MILK10k_Training_Metadata.csv", index=False)


def write_ph2(root: Path) -> None:
    """BMPs, each with a mask of its lesion, and a table between bars with a legend below."""
    table = drawn(root / "scratch", PH2)
    lines = ["||   Name || Histological Diagnosis || Clinical Diagnosis || Asymmetry | Streaks ||    Colors ||"]
    for number, (file, code) in enumerate(zip(table["file"], table["given"], strict=True)):
        name = f"IMD{number:03d}"
        lines.append(f"|| {name} ||                        ||                  {code} ||         0 |       A ||      4    ||")
        for folder, image in ((f"{name}_Dermoscopic_Image", name), (f"{name}_lesion", f"{name}_lesion")):
            target = root / "PH2 Dataset images" / name / folder / f"{image}.bmp"
            target.parent.mkdir(parents=True)
            Image.open(file).save(target)
    (root / "PH2_dataset.txt").write_text("\n".join([*lines, "", "Legends:", "0 - Common Nevus", ""]), encoding="utf-8")


def write_rash(root: Path) -> None:
    """Class folders of a lab's own diagnoses; images and metadata.csv name patients."""
    table = drawn(root / "scratch", RASH)
    for file in table["file"]:
        file.write_bytes(with_exif(file.read_bytes()))
    for name, rows in table.groupby("given"):
        move(rows, root / str(name), rows["isic_id"] + ".jpg")
    known = pd.DataFrame({"filename": table["isic_id"], "lesion_id": table["lesion_id"], "patient_id": MRN + table["patient"]})
    known.assign(name=NAME, birth_date=BIRTH_DATE).to_csv(root / "metadata.csv", index=False)


HAM7_OUTPUTS = (
    "actinic_keratosis_or_bowen",
    "basal_cell_carcinoma",
    "benign_keratosis",
    "dermatofibroma",
    "melanoma",
    "nevus",
    "vascular_lesion",
)
ISIC8_OUTPUTS = (
    *("melanoma", "nevus", "basal_cell_carcinoma", "actinic_keratosis"),
    *("benign_keratosis", "dermatofibroma", "vascular_lesion", "squamous_cell_carcinoma"),
)
PAD6_OUTPUTS = ("actinic_keratosis", "basal_cell_carcinoma", "melanoma", "nevus", "seborrheic_keratosis", "squamous_cell_carcinoma")
FORMS = {
    form.name: form
    for form in (
        Form("ham10000", write_ham10000, "ham7", HAM7_OUTPUTS),
        Form("folders", write_rash, "rash", ("acne", "eczema", "psoriasis", "rosacea"), {"rash.yaml": RASH_LABELS}),
        Form("isic2018", write_isic2018, "ham7", HAM7_OUTPUTS),
        Form("isic2019", write_isic2019, "isic8", ISIC8_OUTPUTS),
        Form("isic2020", write_isic2020, "binary", ("benign", "malignant")),
        Form("isic-archive", write_archive, "isic9", ("basal_cell_carcinoma", "melanoma", "nevus", "seborrheic_keratosis")),
        Form("pad-ufes-20", write_pad, "pad6", PAD6_OUTPUTS),
        Form("derm7pt", write_derm7pt, "isic8", ("melanoma", "nevus", "basal_cell_carcinoma", "benign_keratosis")),
        Form("milk10k", write_milk10k, "ham7", HAM7_OUTPUTS),
        Form("ph2", write_ph2, "isic9", ("melanoma", "nevus")),
    )
}


def write_source(form: Form, root: Path) -> Path:
    """Write the source of a form to a new folder."""
    root.mkdir(parents=True)
    form.write(root)
    for path in sorted((root / "scratch").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (root / "scratch").rmdir()
    return root
