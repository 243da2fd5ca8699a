import math

import pytest

from components.core.errors import LesionflowError
from components.core.files import atomic_write, read_json, require_file, write_json


def test_a_file_appears_only_when_it_is_whole(tmp_path):
    target = tmp_path / "deep" / "out.txt"
    with atomic_write(target) as draft:
        draft.write_text("half")
        assert not target.exists()
    assert target.read_text() == "half"


@pytest.mark.parametrize("fault", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_no_draft(tmp_path, fault):
    target = tmp_path / "out.txt"
    target.write_text("old")
    with pytest.raises(fault), atomic_write(target) as draft:
        draft.write_text("half")
        raise fault
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_a_folder_is_replaced_whole(tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").touch()
    with atomic_write(target) as draft:
        draft.mkdir()
        (draft / "new").touch()
    assert [path.name for path in target.iterdir()] == ["new"]


def test_a_folder_that_cannot_be_replaced_is_left_as_it_was(tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(FileNotFoundError), atomic_write(target):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in target.iterdir()] == ["old"]


def test_what_a_killed_process_left_is_swept_away(tmp_path):
    for leftover in (tmp_path / ".out.partial", tmp_path / ".out.replaced"):
        leftover.mkdir()
        (leftover / "half").touch()
    with atomic_write(tmp_path / "out") as draft:
        draft.mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_put_aside_by_a_killed_process_comes_back(tmp_path):
    aside = tmp_path / ".out.replaced"
    aside.mkdir()
    (aside / "old").touch()
    (tmp_path / ".out.partial").mkdir()
    with pytest.raises(RuntimeError), atomic_write(tmp_path / "out"):
        raise RuntimeError
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["out", "out/old"]


def test_json_refuses_nan_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "report.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": math.nan})
    assert read_json(path) == {"a": 1}


def test_a_missing_input_names_the_command_that_makes_it(tmp_path):
    with pytest.raises(LesionflowError, match=r"does not exist\. Run `dvc repro` to create it"):
        require_file(tmp_path / "splits.parquet")
