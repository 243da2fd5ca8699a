import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from components.core.errors import LesionflowError
from components.core.files import write_json
from components.core.label_set import LabelSet
from components.phone import package
from components.phone.contract import CONTRACT, PhoneContract, VersionName
from components.serving.contents import FILE, write_digests
from components.serving.predictor import Predictor
from tests.support import documents, tflite
from tests.support.images import encoded, noise, textured
from tests.support.labels import RASH

VERSION = VersionName(model="skin", number="3", run="abc")
SKIN = LabelSet(
    name="skin", outputs=("melanoma", "nevus", "keratosis", "carcinoma"), malignant=("melanoma", "carcinoma"), critical="melanoma"
)
PAIR = LabelSet(name="pair", outputs=("benign", "malignant"), malignant=("malignant",), critical="malignant")
NAMES = {"melanoma": "melanoma, a cancer"}
ANSWERED = ("alarm", "diagnosis", "malignant_probability", "operating_points", "prediction_set", "abstained", "probabilities")


def write_version(folder: Path, labels: LabelSet = SKIN, card: bool = False, **changes) -> Path:
    """Write the artifacts of a version, with these changes of candidate.json; return the folder."""
    count = len(labels.outputs)
    promised = {
        "abstention_threshold": 0.35,
        "class_shares": dict.fromkeys(labels.outputs, 1 / count),
        "decision_offsets": [0.7, *[0.0] * (count - 1)],
        "measured_points": {"triage": {"sensitivity": 0.95, "specificity": 0.4}},
        "operating_points": {"balanced": 0.5, "triage": 0.3} if labels.separates_malignant else {},
        "set_thresholds": [0.2] * count,
        "views": 8,
    }
    candidate = documents.candidate(label_set=labels, outputs=labels.outputs, image_size=tflite.SIZE).model_dump(mode="json")
    write_json(folder / "candidate/candidate.json", {**candidate, **promised, **changes})
    (folder / "export").mkdir()
    for precision in ("float32", "float16"):
        (folder / f"export/model_{precision}.tflite").write_bytes(tflite.tiny_network(count))
    (folder / "export/server.tflite").write_bytes(tflite.tiny_network(count))
    if card:
        (folder / "card").mkdir()
        (folder / "card/card.md").write_text("# Card\n")
    write_digests(folder / FILE, {part.name: part for part in folder.iterdir() if part.is_dir()})
    return folder


def export(target: Path, version: Path) -> PhoneContract:
    return package.write_package(target, version, VERSION, lambda label_set: NAMES if label_set == "skin" else {})


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def version(tmp_path_factory) -> Path:
    return write_version(tmp_path_factory.mktemp("version"), card=True)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, version) -> Path:
    target = tmp_path_factory.mktemp("phone") / "new" / "skin"
    export(target, version)
    return target


def test_package_has_the_networks_their_labels_the_contract_and_the_card(exported):
    assert set(files(exported)) == {
        "model_float32.tflite",
        "model_float16.tflite",
        "labels.txt",
        "labels-en.txt",
        "lesionflow.json",
        "example.py",
        "README.md",
        "card/card.md",
    }
    assert (exported / "labels.txt").read_text().split() == list(SKIN.outputs)
    assert (exported / "labels-en.txt").read_text().splitlines() == ["melanoma, a cancer", "nevus", "keratosis", "carcinoma"]


def test_contract_is_within_each_network_and_beside_it_with_the_sums_of_all_files(exported, version):
    contract = json.loads((exported / CONTRACT).read_text())
    listed = contract.pop("files")
    assert listed == {name: package._sha256(content) for name, content in files(exported).items() if name != CONTRACT}
    for name in contract["networks"]:
        packed = tflite.packed_files((exported / name).read_bytes())
        assert json.loads(packed[CONTRACT]) == contract
        assert packed["labels.txt"] == (exported / "labels.txt").read_bytes()
        assert contract["networks"][name] == package._sha256((version / "export" / name).read_bytes())
    assert contract["version"] == {"model": "skin", "number": "3", "run": "abc"}
    assert contract["operating_points"]["triage"] == {"threshold": 0.3, "sensitivity": 0.95, "specificity": 0.4}
    assert contract["operating_points"]["balanced"] == {"threshold": 0.5, "sensitivity": None, "specificity": None}
    assert contract["views"] == 8
    assert "unlike anything in training" in contract["limits"][0]


def test_equal_versions_give_equal_bytes_and_an_earlier_export_is_replaced(exported, version, tmp_path):
    target = Path(shutil.copytree(exported, tmp_path / "again"))
    package.require_replaceable(target)
    export(target, version)
    assert files(target) == files(exported)


def test_readme_tells_how_to_prepare_a_picture_and_what_follows_from_the_probabilities(exported):
    text = (exported / "README.md").read_text()
    assert "Average it down to 16 x 16" in text
    assert "| triage | 0.3 | 0.950 | 0.400 |" in text
    assert "8 views" in text
    assert "\n\n\n" not in text


def wide_gamut_profile() -> bytes:
    """A profile that changes colors: L*a*b* is of another space, so the sRGB profile with a moved primary is used."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    at = profile.index(b"rXYZ") + 4
    start = int.from_bytes(profile[at : at + 4], "big") + 8
    profile[start : start + 4] = (45_000).to_bytes(4, "big")
    return bytes(profile)


def pictures() -> dict[str, bytes]:
    """Pictures as clinics send them, by kind."""
    wide, exif = textured(2, 90, 61), Image.Exif()
    exif[0x0112] = 6
    levels = np.linspace(0, 65_535, 40 * 30).astype(np.uint16).reshape(30, 40)
    transparent = wide.convert("RGBA")
    transparent.putalpha(Image.linear_gradient("L").resize(wide.size))
    return {
        "jpeg": encoded(wide),
        "tall.jpg": encoded(textured(3, 40, 77)),
        "small.png": encoded(noise(4, 9), "PNG"),
        "large.jpg": encoded(noise(5, 700)),
        "png": encoded(wide, "PNG"),
        "rotated.jpg": encoded(wide, exif=exif),
        "rotated.png": encoded(wide, "PNG", exif=exif),
        "cmyk.jpg": encoded(wide.convert("CMYK")),
        "gray.jpg": encoded(wide.convert("L")),
        "profile.jpg": encoded(wide, icc_profile=wide_gamut_profile()),
        "rotated profile.png": encoded(wide, "PNG", icc_profile=wide_gamut_profile(), exif=exif),
        "transparent.png": encoded(transparent, "PNG"),
        "gray transparent.png": encoded(transparent.convert("LA"), "PNG"),
        "palette.png": encoded(wide.quantize(32), "PNG"),
        "palette transparent.png": encoded(wide.quantize(32), "PNG", transparency=3),
        "sixteen.png": encoded(Image.fromarray(levels), "PNG"),
    }


def run_example(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-I", "example.py", *arguments], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("labels", "changes"),
    [
        pytest.param(SKIN, {"resolution": 24}, id="eight views, one resolution"),
        pytest.param(SKIN, {"views": 4, "abstention_threshold": 0.9, "set_thresholds": []}, id="four views, no sets"),
        pytest.param(PAIR, {"views": 2}, id="two classes"),
        pytest.param(RASH, {"views": 1, "decision_offsets": []}, id="no malignant class"),
    ],
)
def test_example_answers_like_the_predictor(tmp_path, labels, changes):
    version = write_version(tmp_path / "version", labels, **changes)
    target, predictor, given = tmp_path / "phone", Predictor.of_folder(version), pictures()
    export(target, version)
    for name, content in given.items():
        (target / name).write_bytes(content)
    finished = run_example(target, *given)
    assert finished.returncode == 0, finished.stderr
    rows = {row["picture"]: row for row in map(json.loads, finished.stdout.splitlines())}
    assert list(rows) == list(given)
    for name, content in given.items():
        expected, row = predictor.predict(content), rows[name]
        difference = np.subtract(list(row["probabilities"].values()), list(expected.probabilities.values()))
        assert np.abs(difference).max() <= 1e-5, name
        assert row["diagnosis"] == (None if expected.abstained else expected.diagnosis), name
        assert tuple(row["abstained"]) == expected.abstained, name
        assert row["alarm"] == expected.alarm, name
        assert row["operating_points"] == expected.operating_points, name
        assert row["prediction_set"] == (None if expected.prediction_set is None else list(expected.prediction_set)), name
        assert (row["malignant_probability"] is None) == (expected.malignant is None), name
    assert len({row["diagnosis"] for row in rows.values()}) > 1 or changes.get("abstention_threshold")


@pytest.mark.slow
def test_example_refuses_a_changed_network_and_names_a_picture_that_it_cannot_read(exported, tmp_path):
    target = Path(shutil.copytree(exported, tmp_path / "phone"))
    (target / "a.jpg").write_bytes(pictures()["jpeg"])
    (target / "b.jpg").write_bytes(b"no picture")
    finished = run_example(target, "a.jpg", "b.jpg", "--network", "model_float16.tflite")
    assert finished.returncode == 1
    assert len(finished.stdout.splitlines()) == 1
    assert "error: b.jpg: " in finished.stderr
    with (target / "model_float32.tflite").open("ab") as stream:
        stream.write(b"\0")
    finished = run_example(target, "a.jpg")
    assert finished.returncode == 1
    assert "model_float32.tflite was changed after it was exported" in finished.stderr
    assert "lists no file" in run_example(target, "a.jpg", "--network", "../x").stderr


def test_changed_file_of_a_version_is_refused(version, tmp_path):
    folder = Path(shutil.copytree(version, tmp_path / "version"))
    with (folder / "export/model_float16.tflite").open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(LesionflowError, match=r"export/model_float16\.tflite.* was changed after it was registered"):
        export(tmp_path / "phone", folder)
    assert not (tmp_path / "phone").exists()


def test_version_without_tflite_files_is_refused_with_the_way_out(version, tmp_path):
    folder = Path(shutil.copytree(version, tmp_path / "version"))
    shutil.rmtree(folder / "export")
    with pytest.raises(LesionflowError, match=r"version 3 of skin has no TFLite files, .* Export another version, or register"):
        export(tmp_path / "phone", folder)


def test_only_a_new_or_empty_folder_or_an_unchanged_export_is_replaced(exported, tmp_path):
    (tmp_path / "empty").mkdir()
    for allowed in (tmp_path / "new", tmp_path / "empty", exported):
        package.require_replaceable(allowed)
    (tmp_path / "file").write_text("x")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.txt").write_text("x")
    for name in ("added", "changed"):
        shutil.copytree(exported, tmp_path / name)
    (tmp_path / "added/notes.txt").write_text("x")
    (tmp_path / "changed/example.py").write_text("x")
    refused = {"file": "is a file", "thesis": "no earlier export", "added": r"notes\.txt", "changed": r"example\.py"}
    for name, reason in refused.items():
        with pytest.raises(LesionflowError, match=reason):
            package.require_replaceable(tmp_path / name)
