import os
import subprocess
import sys

from components.core.errors import LesionflowError, ServiceUnavailable
from components.runtime.stage import INTERRUPTED, TRY_LATER
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


def test_exit_codes_tell_what_may_work_later_from_what_a_person_mends():
    for fault, code in ((LesionflowError, 1), (ServiceUnavailable, TRY_LATER)):
        with stage(f"raise errors.{fault.__name__}('said')", stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            assert process.stderr.read() == "error: said\n"
            assert process.wait(20) == code
