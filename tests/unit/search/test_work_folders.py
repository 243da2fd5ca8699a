"""Folders for long work: one process each, and begun work is found again."""

from components.search import work_folders
from components.search.work_folders import work_folder


def test_begun_work_is_found_again_and_other_work_is_not(tmp_path):
    with work_folder(tmp_path, "a") as folder:
        (folder / "progress").write_text("half", encoding="utf-8")
    with work_folder(tmp_path, "a") as again:
        assert (again / "progress").read_text(encoding="utf-8") == "half"
    with work_folder(tmp_path, "b") as other:
        assert other == folder
        assert not (other / "progress").exists()


def test_two_at_once_have_folders_of_their_own(tmp_path):
    with work_folder(tmp_path, "a") as first, work_folder(tmp_path, "a") as second:
        assert first != second
        (second / "progress").touch()
    with work_folder(tmp_path, "b") as taken:
        assert taken == first
        with work_folder(tmp_path, "a") as found:
            assert (found / "progress").exists()


def test_folder_is_free_after_an_error(tmp_path):
    try:
        with work_folder(tmp_path, "a") as folder:
            (folder / "progress").touch()
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    with work_folder(tmp_path, "a") as again:
        assert again == folder
        assert (again / "progress").exists()


def test_clear_leaves_what_is_in_use(tmp_path):
    with work_folder(tmp_path, "a") as used:
        with work_folder(tmp_path, "b") as unused:
            pass
        work_folders.clear(tmp_path)
        assert used.exists()
        assert not unused.exists()
    work_folders.clear(tmp_path)
    assert not used.exists()
