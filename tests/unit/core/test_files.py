import math

import pytest

from components.core.errors import LesionflowError
from components.core.files import atomic_write, read_json, require_file, write_json


def test_atomic_write_creates_file_only_when_complete(tmp_path):
    target = tmp_path / "deep" / "out.txt"
    with atomic_write(target) as draft:
        draft.write_text("half")
        assert not target.exists()
    assert target.read_text() == "half"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_atomic_write_keeps_old_file_when_writing_fails(tmp_path, error):
    target = tmp_path / "out.txt"
    target.write_text("old")
    with pytest.raises(error), atomic_write(target) as draft:
        draft.write_text("half")
        raise error
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_atomic_write_replaces_folder(tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").touch()
    with atomic_write(target) as draft:
        draft.mkdir()
        (draft / "new").touch()
    assert [path.name for path in target.iterdir()] == ["new"]


def test_atomic_write_keeps_old_folder_when_draft_is_missing(tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(FileNotFoundError), atomic_write(target):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in target.iterdir()] == ["old"]


def test_atomic_write_removes_leftovers_of_killed_process(tmp_path):
    for leftover in (tmp_path / ".out.partial", tmp_path / ".out.replaced"):
        leftover.mkdir()
        (leftover / "half").touch()
    with atomic_write(tmp_path / "out") as draft:
        draft.mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert list((tmp_path / "out").iterdir()) == []


def test_atomic_write_restores_folder_moved_by_killed_process(tmp_path):
    replaced = tmp_path / ".out.replaced"
    replaced.mkdir()
    (replaced / "old").touch()
    (tmp_path / ".out.partial").mkdir()
    with pytest.raises(RuntimeError), atomic_write(tmp_path / "out"):
        raise RuntimeError
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["out", "out/old"]


def test_write_json_rejects_nan_and_keeps_old_file(tmp_path):
    path = tmp_path / "report.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": math.nan})
    assert read_json(path) == {"a": 1}


def test_require_file_names_command_that_creates_it(tmp_path):
    with pytest.raises(LesionflowError, match=r"does not exist\. Run `dvc repro` to create it"):
        require_file(tmp_path / "splits.parquet")
