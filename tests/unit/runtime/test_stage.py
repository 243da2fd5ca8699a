import os
import subprocess
import sys

import psutil

from components.core.errors import LesionflowError, ServiceUnavailable
from components.runtime.stage import INTERRUPTED, TRY_LATER
from tests.support.prefect import wait_for
from tests.support.project import ROOT


def start_stage(body: str, **options) -> subprocess.Popen:
    imports = "import time\nfrom components.core import errors\nfrom components.runtime import stage"
    code = f"{imports}\ndef main():\n    {body}\nstage.run(main, 'a stage')"
    return subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True, **options)


def test_stage_ends_when_stdout_pipe_is_closed():
    with start_stage("print('started', flush=True); time.sleep(60)", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.stdout.close()
        assert process.wait(20) == INTERRUPTED


def test_stage_with_output_to_file_completes(tmp_path):
    with (tmp_path / "log").open("w") as log, start_stage("time.sleep(1)", stdout=log) as process:
        assert process.wait(20) == 0


def test_stage_ends_when_dvc_is_killed(tmp_path):
    """Otherwise the stage would continue while the next `dvc repro` starts it again."""
    starter = "import os, subprocess, sys, time; subprocess.Popen([sys.executable, '-c', sys.argv[1]]); time.sleep(60)"
    pid_file = tmp_path / "pid"
    code = (
        "import os, time\nfrom pathlib import Path\nfrom components.runtime import stage\n"
        f"def main():\n    Path({str(pid_file)!r}).write_text(str(os.getpid())); time.sleep(60)\nstage.run(main, 'a stage')"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_STAGE": "a stage"}
    with (tmp_path / "log").open("w") as log, subprocess.Popen([sys.executable, "-c", starter, code], env=environment, stdout=log) as dvc:
        wait_for("the stage to work", lambda: pid_file.exists() and pid_file.read_text(), 20)
        stage = psutil.Process(int(pid_file.read_text()))
        dvc.kill()
    assert not psutil.wait_procs([stage], timeout=20)[1]


def test_exit_code_distinguishes_transient_errors():
    for error, code in ((LesionflowError, 1), (ServiceUnavailable, TRY_LATER)):
        with start_stage(f"raise errors.{error.__name__}('message')", stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            assert process.stderr.read() == "error: message\n"
            assert process.wait(20) == code
