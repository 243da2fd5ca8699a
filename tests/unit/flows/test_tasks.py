import pytest

from flows import tasks


@pytest.fixture
def commands(monkeypatch):
    """The DVC commands that were run, and a list of commands that are to be killed."""
    dvc_commands, killed_commands = [], []

    def dvc(arguments, _on_line, root):
        dvc_commands.append(arguments)
        if arguments[0] in killed_commands:
            raise KeyboardInterrupt
        if arguments[0] == "checkout":
            for source in arguments[-2:]:
                (root / source).with_suffix("").mkdir(exist_ok=True)

    monkeypatch.setattr(tasks, "dvc", dvc)
    monkeypatch.setattr(tasks, "get_run_logger", lambda: type("Logger", (), {"info": print}))
    return dvc_commands, killed_commands


def test_pull_repeats_killed_checkout_with_force(tmp_path, commands):
    dvc_commands, killed_commands = commands
    assert tasks.needs_pull(tmp_path)
    killed_commands.append("checkout")
    with pytest.raises(KeyboardInterrupt):
        tasks.pull.fn(tmp_path)
    for name in ("data", "weights"):
        (tmp_path / name).mkdir()
    assert tasks.needs_pull(tmp_path), "incomplete folders are not the dataset"
    killed_commands.clear()
    tasks.pull.fn(tmp_path)
    assert dvc_commands[1::2] == [["checkout", "data.dvc", "weights.dvc"], ["checkout", "--force", "data.dvc", "weights.dvc"]]
    assert not tasks.needs_pull(tmp_path)


def test_pull_after_failed_fetch_needs_no_checkout(tmp_path, commands):
    dvc_commands, killed_commands = commands
    for name in ("data", "weights"):
        (tmp_path / name).mkdir()
    killed_commands.append("fetch")
    with pytest.raises(KeyboardInterrupt):
        tasks.pull.fn(tmp_path)
    assert dvc_commands == [["fetch", "data.dvc", "weights.dvc"]]
    assert not tasks.needs_pull(tmp_path)
