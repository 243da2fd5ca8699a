"""Keys of patients: made once, kept outside the project, the same in every import of a source."""

import hashlib
import hmac
import os
import threading
from pathlib import Path

import pytest
import yaml

from app.data import pseudonyms
from app.data.pseudonyms import VARIABLE, is_public, key_path, open_key, patient_key, stored_patient_ids
from components.core.errors import LesionflowError

pytestmark = pytest.mark.usefixtures("key_file")


@pytest.fixture
def key_file(tmp_path, monkeypatch) -> Path:
    """Where the key of a project in tmp_path/project is made."""
    path = tmp_path / "settings" / "own.key"
    (tmp_path / "project/.git").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv(VARIABLE, str(path))
    return path


def test_key_of_a_patient_is_hmac_of_namespace_and_id():
    expected = hmac.new(b"secret", b"clinic-a\x00MRN 17", hashlib.sha256).hexdigest()[:16]
    assert patient_key(b"secret", "clinic-a", "MRN 17") == f"P_{expected}"
    assert len({patient_key(b"secret", *names) for names in (("a", "b"), ("a", "c"), ("b", "b"))}) == 3
    assert patient_key(b"other", "clinic-a", "MRN 17") != f"P_{expected}"


def test_ids_of_the_archive_and_keys_are_public():
    assert is_public("IP_0123456") and is_public(patient_key(b"s", "a", "b"))
    assert not any(is_public(name) for name in ("IP_Mustermann", "PAT_1", "P_1", "XIP_1"))


def test_key_is_made_once_for_this_user_only(key_file):
    first, second = open_key(), open_key()
    assert (first.is_new, second.is_new) == (True, False)
    assert first.secret == second.secret and len(first.secret) == 32
    assert first.path == key_file and key_file.stat().st_mode & 0o777 == 0o600
    assert str(key_file) in first.message and "never share it" in first.message
    assert [path.name for path in key_file.parent.iterdir()] == ["own.key"]


def test_processes_that_make_the_key_at_once_get_the_same():
    secrets: list[bytes] = []
    threads = [threading.Thread(target=lambda: secrets.append(open_key().secret)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(secrets) == 8 and len({*secrets}) == 1


def test_default_places(monkeypatch, tmp_path):
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert key_path() == tmp_path / "xdg/lesionflow/pseudonym.key"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert key_path() == tmp_path / "home/.config/lesionflow/pseudonym.key"


def test_key_in_the_project_is_refused(monkeypatch, tmp_path):
    (tmp_path / "project/below").mkdir()
    monkeypatch.chdir(tmp_path / "project/below")
    for place in (tmp_path / "project/data/key", Path("key")):
        monkeypatch.setenv(VARIABLE, str(place))
        with pytest.raises(LesionflowError, match=f"is in this project.*Set {VARIABLE} to a file outside this project"):
            open_key()


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_key_that_others_can_read_is_refused(key_file, mode):
    open_key()
    key_file.chmod(mode)
    with pytest.raises(LesionflowError, match=r"can be read by other users. Run `chmod 600 "):
        open_key()


@pytest.mark.parametrize("content", [b"", b"abc", b"00" * 31, b"\xff\xfe"])
def test_file_without_a_key_is_refused(key_file, content):
    key_file.parent.mkdir()
    key_file.write_bytes(content)
    key_file.chmod(0o600)
    with pytest.raises(LesionflowError, match=f"{key_file}.*Set {VARIABLE}"):
        open_key()


def test_folder_that_cannot_be_written_names_the_variable(key_file, monkeypatch):
    (key_file.parent.parent / "file").touch()
    monkeypatch.setenv(VARIABLE, str(key_file.parent.parent / "file" / "key"))
    with pytest.raises(LesionflowError, match=f"cannot be .*Set {VARIABLE}"):
        open_key()


def test_user_without_home(monkeypatch):
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv(VARIABLE)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(pseudonyms.Path, "home", no_home)
    with pytest.raises(LesionflowError, match=VARIABLE):
        open_key()


def test_stored_ids_of_a_patient(key_file, tmp_path):
    dataset = tmp_path / "dataset.yaml"
    assert stored_patient_ids("MRN 17", dataset) == {"MRN 17"}
    dataset.write_text(yaml.safe_dump({"namespace": "a", "sources": [{"namespace": "b"}, {"form": "folders"}]}), encoding="utf-8")
    assert stored_patient_ids("MRN 17", dataset) == {"MRN 17"}
    assert not key_file.exists()
    secret = open_key().secret
    assert stored_patient_ids(" MRN 17 ", dataset) == {"MRN 17", patient_key(secret, "a", "MRN 17"), patient_key(secret, "b", "MRN 17")}
    assert stored_patient_ids("IP_1", dataset) == {"IP_1"}
    dataset.write_text("a: [", encoding="utf-8")
    with pytest.raises(LesionflowError, match="not valid YAML"):
        stored_patient_ids("MRN 17", dataset)


def test_umask_does_not_matter(key_file):
    before = os.umask(0)
    try:
        open_key()
    finally:
        os.umask(before)
    assert key_file.stat().st_mode & 0o777 == 0o600
