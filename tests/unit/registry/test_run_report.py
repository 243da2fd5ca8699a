import re
from pathlib import Path

import numpy as np
import pytest

from components.core import plotting
from components.core.errors import LesionflowError
from components.core.files import write_json
from components.core.paths import CLINIC, CURVES, EVALUATION, EXPORT_REPORT, INDEX_REPORT, REPORTS, RUN_REPORT
from components.core.reports.registration import Rule
from components.registry import run_report
from tests.support import documents

WILD = "<script>alert(1)</script>"
COLUMNS = "epoch,loss,balanced_accuracy,val_loss,val_balanced_accuracy,learning_rate\n"


@pytest.fixture
def _run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the reports and plots of a run."""
    monkeypatch.chdir(tmp_path)
    CURVES.mkdir(parents=True)
    for name in run_report.CURVE_FILES.values():
        (CURVES / name).write_text(f"{COLUMNS}0,1.5,0.3,1.6,0.2,0.001\n1,1.2,0.4,1.3,0.3,0.001\n")
    for _, path in run_report.PLOTS:
        path.parent.mkdir(exist_ok=True)
        plotting.image_grid([[np.zeros((8, 8, 3), np.uint8)] * 2], ["one"], path)
    documents.evaluation().write(EVALUATION)
    documents.export_report().write(EXPORT_REPORT)
    documents.clinic().write(CLINIC)
    documents.index_report().write(INDEX_REPORT)
    write_json(REPORTS / "validation.json", {"found": {"near_duplicate": 4}, "quarantined": {}})
    sides = {side: {"melanoma": 7, WILD: 9} for side in ("train", "validation", "test")}
    write_json(REPORTS / "split.json", {"images_per_class": sides})


@pytest.mark.usefixtures("_run")
def test_page_holds_everything_and_refers_to_no_other_file():
    gate = (Rule("balanced accuracy floor", True, "0.7, at least 0.5 required"), Rule(WILD, False, WILD))
    run_report.write_report(documents.registration(gate=gate, gate_passed=False, champion=None))
    page = RUN_REPORT.read_text(encoding="utf-8")
    assert "The gate did not pass this version; champion: none yet." in page
    assert "0.7, at least 0.5 required" in page
    assert WILD not in page
    assert page.count("<figure>") == len(run_report.PLOTS) + 2
    assert all(url.startswith("data:image/png;base64,") for url in re.findall(r'(?:src|href)="([^"]*)"', page))


@pytest.mark.usefixtures("_run")
def test_missing_plot_is_named():
    path = run_report.PLOTS[0][1]
    path.unlink()
    with pytest.raises(LesionflowError, match=f"{path} does not exist"):
        run_report.write_report(documents.registration())
