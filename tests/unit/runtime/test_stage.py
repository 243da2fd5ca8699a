import os
import subprocess
import sys

import psutil

from components.core.errors import LesionflowError, ServiceUnavailable
from components.runtime.stage import INTERRUPTED, TRY_LATER
from tests.support.prefect import wait_for
from tests.support.project import ROOT


def stage(body: str, **options) -> subprocess.Popen:
    imports = "import time\nfrom components.core import errors\nfrom components.runtime import stage"
    code = f"{imports}\ndef main():\n    {body}\nstage.run(main, 'a stage')"
    return subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True, **options)


def test_a_stage_ends_when_nobody_reads_its_output_any_more():
    with stage("print('at work', flush=True); time.sleep(60)", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        process.stdout.close()
        assert process.wait(20) == INTERRUPTED


def test_a_stage_whose_output_goes_to_a_file_runs_to_its_end(tmp_path):
    with (tmp_path / "log").open("w") as log, stage("time.sleep(1)", stdout=log) as process:
        assert process.wait(20) == 0


def test_a_stage_ends_with_the_dvc_that_started_it(tmp_path):
    """Killed alone, DVC would leave its stage at work while the next `dvc repro` starts the same stage again."""
    starter = "import os, subprocess, sys, time; subprocess.Popen([sys.executable, '-c', sys.argv[1]]); time.sleep(60)"
    at_work = tmp_path / "at work"
    code = (
        "import os, time\nfrom pathlib import Path\nfrom components.runtime import stage\n"
        f"def main():\n    Path({str(at_work)!r}).write_text(str(os.getpid())); time.sleep(60)\nstage.run(main, 'a stage')"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_STAGE": "a stage"}
    with (tmp_path / "log").open("w") as log, subprocess.Popen([sys.executable, "-c", starter, code], env=environment, stdout=log) as dvc:
        wait_for("the stage to work", lambda: at_work.exists() and at_work.read_text(), 20)
        stage = psutil.Process(int(at_work.read_text()))
        dvc.kill()
    assert not psutil.wait_procs([stage], timeout=20)[1]


def test_exit_codes_tell_what_may_work_later_from_what_a_person_mends():
    for fault, code in ((LesionflowError, 1), (ServiceUnavailable, TRY_LATER)):
        with stage(f"raise errors.{fault.__name__}('said')", stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            assert process.stderr.read() == "error: said\n"
            assert process.wait(20) == code
