import io
import sys
import time

import psutil
import pytest

from flows import processes, stages
from flows.processes import Command, CommandFailed, TransientCommandError


def python(code: str) -> Command:
    return Command([sys.executable, "-c", code], "x")


def test_lines_split_at_newlines_and_carriage_returns():
    stream = io.BufferedReader(io.BytesIO(b"one\r 10 %\r 20 %\r\nlast"))
    assert list(processes._lines(stream)) == ["one", " 10 %", " 20 %", "last"]


def test_error_message_prefers_message_of_stage_to_that_of_dvc():
    lines = ["noise", "error: data/ does not exist", "ERROR: failed to reproduce 'validate'"]
    assert processes._error_message("validate", lines) == "validate failed:\ndata/ does not exist"
    assert processes._error_message("validate", lines[::2]).endswith("ERROR: failed to reproduce 'validate'")


def test_run_command_passes_lines_on_while_it_runs(tmp_path):
    lines = []
    code = "import time; print('now', flush=True); time.sleep(1); print('later')"
    started = time.monotonic()
    processes.run_command(python(code), lambda line: lines.append((line, time.monotonic() - started)), root=tmp_path)
    assert [line for line, _ in lines] == ["now", "later"]
    assert lines[1][1] - lines[0][1] > 0.5


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("raise SystemExit('error: bad data')", CommandFailed),
        ("raise SystemExit(75)", TransientCommandError),
        ("raise SystemExit('ERROR: failed to run: python -m components.train, exited with 75')", TransientCommandError),
        ("raise SystemExit('ERROR: Unable to acquire lock. Most likely another DVC process is running')", TransientCommandError),
    ],
)
def test_run_command_distinguishes_transient_errors(tmp_path, code, kind):
    with pytest.raises(CommandFailed) as failed:
        processes.run_command(python(code), print, root=tmp_path)
    assert type(failed.value) is kind


def test_run_command_kills_process_tree_on_exception(tmp_path):
    grandchild = "import time; time.sleep(60)"
    code = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {grandchild!r}]); print(p.pid, flush=True); p.wait()"
    pids = []

    def cancel(line: str) -> None:
        pids.append(int(line))
        raise TimeoutError

    with pytest.raises(TimeoutError):
        processes.run_command(python(code), cancel, root=tmp_path)
    end = time.monotonic() + 10
    while _is_running(pids[0]) and time.monotonic() < end:
        time.sleep(0.1)
    assert not _is_running(pids[0])


def _is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_run_json_separates_json_from_messages(tmp_path):
    messages = []
    code = "import sys; print('warning: moved', file=sys.stderr); print('{\"champion\": 2}')"
    assert processes.run_json(python(code), messages.append, root=tmp_path) == {"champion": 2}
    assert messages == ["warning: moved"]


def test_run_json_returns_json_despite_exit_code(tmp_path):
    code = "print('{\"moved\": [1]}'); raise SystemExit(1)"
    assert processes.run_json(python(code), print, root=tmp_path) == {"moved": [1]}
    with pytest.raises(CommandFailed, match="no champion"):
        processes.run_json(python("raise SystemExit('error: no champion')"), print, root=tmp_path)


def test_up_to_date_stages_end_at_first_stale_stage(monkeypatch):
    monkeypatch.setattr(stages, "run_json", lambda *_, **__: {"embed": [], "train": []})
    assert stages.up_to_date_stages(print) == ["data.dvc", "weights.dvc", "validate", "split", "augment"]
