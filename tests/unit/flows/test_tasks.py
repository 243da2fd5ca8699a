import pytest

from flows import tasks


@pytest.fixture
def commands(monkeypatch):
    """What DVC is asked to do in a project; a command that is put into `killed` does not end."""
    asked, killed = [], []

    def dvc(arguments, _on_line, root):
        asked.append(arguments)
        if arguments[0] in killed:
            raise KeyboardInterrupt
        if arguments[0] == "checkout":
            for source in arguments[-2:]:
                (root / source).with_suffix("").mkdir(exist_ok=True)

    monkeypatch.setattr(tasks, "dvc", dvc)
    monkeypatch.setattr(tasks, "get_run_logger", lambda: type("Logger", (), {"info": print}))
    return asked, killed


def test_a_checkout_that_was_killed_is_done_again_over_what_it_left(tmp_path, commands):
    asked, killed = commands
    assert tasks.unpulled(tmp_path)
    killed.append("checkout")
    with pytest.raises(KeyboardInterrupt):
        tasks.pull.fn(tmp_path)
    for name in ("data", "weights"):
        (tmp_path / name).mkdir()
    assert tasks.unpulled(tmp_path), "folders that are there in part are not the dataset"
    killed.clear()
    tasks.pull.fn(tmp_path)
    assert asked[1::2] == [["checkout", "data.dvc", "weights.dvc"], ["checkout", "--force", "data.dvc", "weights.dvc"]]
    assert not tasks.unpulled(tmp_path)


def test_a_download_that_fails_leaves_nothing_to_do_again(tmp_path, commands):
    asked, killed = commands
    for name in ("data", "weights"):
        (tmp_path / name).mkdir()
    killed.append("fetch")
    with pytest.raises(KeyboardInterrupt):
        tasks.pull.fn(tmp_path)
    assert asked == [["fetch", "data.dvc", "weights.dvc"]]
    assert not tasks.unpulled(tmp_path)
