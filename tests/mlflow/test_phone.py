"""`lesionflow export` on a real MLflow store."""

import json
import os
import shutil

import pytest

from components.core.files import write_json
from components.serving.contents import FILE, write_digests
from tests.support import documents, tflite
from tests.support.labels import CLASSES
from tests.support.project import ROOT


@pytest.fixture
def version(registry):
    """A version whose artifacts have TFLite files, as champion; its number."""
    number = registry.register_version()
    folder = registry.root / "artifacts"
    write_json(folder / "candidate/candidate.json", documents.candidate(image_size=tflite.SIZE).model_dump(mode="json"))
    (folder / "export").mkdir()
    (folder / "export/model_float32.tflite").write_bytes(tflite.tiny_network(len(CLASSES)))
    write_digests(folder / FILE, {name: folder / name for name in ("candidate", "export")})
    for path in folder.iterdir():
        target = artifacts_of(registry, number) / path.name
        shutil.copytree(path, target) if path.is_dir() else shutil.copy(path, target)
    registry.move_champion_in_ui(number)
    return number


def artifacts_of(registry, number):
    return registry.evidence_folder(number).parent


def test_export_writes_the_champion_with_the_names_of_its_label_set(registry, version, run_cli):
    shutil.copytree(ROOT / "labels", registry.root / "labels")
    result = run_cli("export", "--to", "phone")
    assert result.exit_code == 0, result.stderr
    assert f"version {version} was exported to phone: model_float32.tflite" in result.stdout
    contract = json.loads((registry.root / "phone/lesionflow.json").read_text())
    assert contract["version"]["number"] == version
    assert contract["version"]["run"] == registry.get_version(version).run_id
    assert (registry.root / "phone/labels.txt").read_text().split() == list(CLASSES)
    before = {path.name: path.read_bytes() for path in (registry.root / "phone").iterdir()}
    assert run_cli("export", "--to", "phone", "--version", version).exit_code == 0
    assert {path.name: path.read_bytes() for path in (registry.root / "phone").iterdir()} == before


@pytest.mark.usefixtures("version")
def test_export_names_what_stands_in_its_way(registry, run_cli):
    (registry.root / "file").write_text("x")
    (registry.root / "thesis").mkdir()
    (registry.root / "thesis/chapter.txt").write_text("x")
    cases = {
        ("phone", "--version", "7"): "has no version 7",
        ("phone", "--version", "best"): "has no version or alias 'best'",
        ("file",): "file is a file",
        ("file/phone",): "file is a file",
        ("/proc/phone",): "/proc/phone cannot be written: ",
        ("thesis",): "thesis is not empty, and no earlier export",
    }
    for arguments, message in cases.items():
        result = run_cli("export", "--to", *arguments)
        assert (result.exit_code, message in result.stderr) == (1, True), result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert not (registry.root / "phone").exists()


@pytest.mark.usefixtures("version")
@pytest.mark.skipif(os.geteuid() == 0, reason="rights do not bind root")
def test_export_names_a_folder_without_rights(registry, run_cli):
    (registry.root / "closed").mkdir(mode=0o500)
    assert "closed/phone cannot be written: permission denied" in run_cli("export", "--to", "closed/phone").stderr


def test_export_refuses_a_changed_file_and_an_older_version(registry, version, run_cli):
    with (artifacts_of(registry, version) / "export/model_float32.tflite").open("ab") as stream:
        stream.write(b"\0")
    result = run_cli("export", "--to", "phone")
    assert result.exit_code == 1
    assert "export/model_float32.tflite" in result.stderr
    assert "was changed after it was registered" in result.stderr
    older = registry.register_version(wrong=1)
    result = run_cli("export", "--to", "phone", "--version", older)
    assert result.exit_code == 1
    assert f"version {older} of" in result.stderr
    assert "has no TFLite files, since an older release registered it" in result.stderr
    assert not (registry.root / "phone").exists()
