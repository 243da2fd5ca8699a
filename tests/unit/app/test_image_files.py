import os
import socket
from pathlib import Path

import pytest

from app.models.image_files import FOLDER_LINK, NO_TARGET, FoundFile, find_files, read_file
from components.core.errors import UnreadableImageError

LIMIT = 1


def write(path: Path, content: bytes = b"content") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def names(found, root):
    return [file.path.relative_to(root).as_posix() for file in found]


def test_folder_gives_all_files_by_path_without_system_files(tmp_path):
    for name in ("b/2.jpg", "b/1.jpg", "a.jpg", "b.jpg", "c/deep/er/x.png", "table.csv"):
        write(tmp_path / name)
    for name in (".hidden.jpg", "b/Thumbs.db", "__MACOSX/._a.jpg", ".git/a.jpg", "@eaDir/a.jpg"):
        write(tmp_path / name)
    assert names(find_files([tmp_path]), tmp_path) == ["a.jpg", "b/1.jpg", "b/2.jpg", "b.jpg", "c/deep/er/x.png", "table.csv"]


def test_folder_under_hidden_folder_is_searched(tmp_path):
    write(tmp_path / ".cache/photos/a.jpg")
    assert names(find_files([tmp_path / ".cache/photos"]), tmp_path) == [".cache/photos/a.jpg"]


def test_several_folders_are_searched_and_repeated_paths_are_found_once(tmp_path):
    first, second = write(tmp_path / "one/a.jpg"), write(tmp_path / "two/b.jpg")
    assert names(find_files([tmp_path / "two", tmp_path / "one", tmp_path / "two"]), tmp_path) == ["two/b.jpg", "one/a.jpg"]
    assert list(find_files([first, second, first])) == [FoundFile(first), FoundFile(second)]


def test_file_of_answers_is_left_out_of_folder(tmp_path):
    write(tmp_path / "a.jpg")
    output = write(tmp_path / "answers.csv")
    assert names(find_files([tmp_path], output), tmp_path) == ["a.jpg"]
    assert list(find_files([output], output)) == [FoundFile(output)]


def test_links_to_folders_are_named_and_not_followed(tmp_path):
    write(tmp_path / "in/a.jpg")
    (tmp_path / "in/loop").symlink_to(tmp_path / "in")
    (tmp_path / "in/file.jpg").symlink_to(tmp_path / "in/a.jpg")
    found = list(find_files([tmp_path / "in"]))
    assert names(found, tmp_path / "in") == ["a.jpg", "file.jpg", "loop"]
    assert [file.problem for file in found] == ["", "", FOLDER_LINK]


def test_unreadable_folder_is_named(tmp_path, monkeypatch):
    write(tmp_path / "a/1.jpg")
    write(tmp_path / "b.jpg")
    scandir = os.scandir

    def refused(path):
        if Path(path).name == "a":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    assert list(find_files([tmp_path])) == [FoundFile(tmp_path / "a", "permission denied"), FoundFile(tmp_path / "b.jpg")]


def special_files(folder):
    os.mkfifo(folder / "pipe.jpg")
    (folder / "folder.jpg").mkdir()
    (folder / "link.jpg").symlink_to(folder / "gone.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "s.jpg"))
    return {
        folder / "pipe.jpg": "a named pipe, not a file",
        folder / "folder.jpg": "a folder, not a file",
        folder / "link.jpg": NO_TARGET,
        folder / "s.jpg": "a socket, not a file",
        folder / "none.jpg": "no such file or directory",
        Path("/dev/zero"): "a device, not a file",
        folder / "nul\0.jpg": "not a valid path",
        folder / ("x" * 300): "file name too long",
    }


def test_only_regular_files_are_opened(tmp_path, monkeypatch):
    wanted = special_files(tmp_path)
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("opened"))
    for path, said in wanted.items():
        with pytest.raises(UnreadableImageError) as refused:
            read_file(path, LIMIT)
        assert str(refused.value) == said


@pytest.mark.skipif(os.geteuid() == 0, reason="rights do not bind root")
def test_file_without_rights_is_refused(tmp_path):
    path = write(tmp_path / "a.jpg")
    path.chmod(0)
    with pytest.raises(UnreadableImageError, match="permission denied"):
        read_file(path, LIMIT)


def test_large_file_is_refused_before_it_is_read(tmp_path):
    path = write(tmp_path / "a.jpg")
    os.truncate(path, 2**50 // 2**20 * 2**10)
    with pytest.raises(UnreadableImageError, match="larger than 1 MB"):
        read_file(path, LIMIT)
    os.truncate(path, 7)
    assert read_file(path, LIMIT) == b"content"
