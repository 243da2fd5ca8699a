import io
import sys
import time

import psutil
import pytest

from flows import processes, stages
from flows.processes import Command, CommandFailed, TransientCommandError


def python(code: str) -> Command:
    return Command([sys.executable, "-c", code], "x")


def test_lines_end_at_newlines_and_at_a_progress_bars_carriage_returns():
    stream = io.BufferedReader(io.BytesIO(b"one\r 10 %\r 20 %\r\nlast"))
    assert list(processes._lines(stream)) == ["one", " 10 %", " 20 %", "last"]


def test_a_stages_own_words_come_before_dvcs():
    lines = ["noise", "error: data/ is not there", "ERROR: failed to reproduce 'validate'"]
    assert processes._error_message("validate", lines) == "validate failed:\ndata/ is not there"
    assert processes._error_message("validate", lines[::2]).endswith("ERROR: failed to reproduce 'validate'")


def test_lines_are_handed_on_while_the_command_runs(tmp_path):
    seen = []
    code = "import time; print('now', flush=True); time.sleep(1); print('later')"
    started = time.monotonic()
    processes.run_command(python(code), lambda line: seen.append((line, time.monotonic() - started)), root=tmp_path)
    assert [line for line, _ in seen] == ["now", "later"]
    assert seen[1][1] - seen[0][1] > 0.5


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("raise SystemExit('error: bad data')", CommandFailed),
        ("raise SystemExit(75)", TransientCommandError),
        ("raise SystemExit('ERROR: failed to run: python -m components.train, exited with 75')", TransientCommandError),
        ("raise SystemExit('ERROR: Unable to acquire lock. Most likely another DVC process is running')", TransientCommandError),
    ],
)
def test_only_what_did_not_answer_is_worth_another_try(tmp_path, code, kind):
    with pytest.raises(CommandFailed) as failed:
        processes.run_command(python(code), print, root=tmp_path)
    assert type(failed.value) is kind


def test_whatever_ends_the_call_ends_the_command_and_what_it_started(tmp_path):
    grandchild = "import time; time.sleep(60)"
    code = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {grandchild!r}]); print(p.pid, flush=True); p.wait()"
    seen = []

    def cancel(line: str) -> None:
        seen.append(int(line))
        raise TimeoutError

    with pytest.raises(TimeoutError):
        processes.run_command(python(code), cancel, root=tmp_path)
    end = time.monotonic() + 10
    while _lives(seen[0]) and time.monotonic() < end:
        time.sleep(0.1)
    assert not _lives(seen[0])


def _lives(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_an_answer_is_kept_apart_from_what_is_said_for_people(tmp_path):
    said = []
    code = "import sys; print('warning: moved', file=sys.stderr); print('{\"champion\": 2}')"
    assert processes.run_json(python(code), said.append, root=tmp_path) == {"champion": 2}
    assert said == ["warning: moved"]


def test_an_answer_before_an_error_is_an_answer_and_an_error_alone_is_not(tmp_path):
    code = "print('{\"moved\": [1]}'); raise SystemExit(1)"
    assert processes.run_json(python(code), print, root=tmp_path) == {"moved": [1]}
    with pytest.raises(CommandFailed, match="no champion"):
        processes.run_json(python("raise SystemExit('error: no champion')"), print, root=tmp_path)


def test_fresh_stages_end_at_the_first_stale_one(monkeypatch):
    monkeypatch.setattr(stages, "run_json", lambda *_, **__: {"embed": [], "train": []})
    assert stages.up_to_date_stages(print) == ["data.dvc", "weights.dvc", "validate", "split", "augment"]
