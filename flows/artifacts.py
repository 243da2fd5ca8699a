"""What a run leaves for people on its page in Prefect: tables, figures and the gate's verdict."""

import base64
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast
from uuid import UUID

from prefect import get_run_logger, task
from prefect.artifacts import (
    create_image_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE

from components.core.escaping import for_markdown
from components.core.markdown import table
from components.core.paths import EVALUATION, EVALUATION_PLOTS, REGISTRATION
from components.core.reports.champion import Overview
from components.core.reports.evaluation import Estimate, Evaluation
from components.core.reports.registration import Registration
from flows.processes import ROOT
from flows.stages import StageResult

MLFLOW_PAGE = "http://127.0.0.1:5000"
"""Where `make ui` opens MLflow."""


COUNTED = re.compile(r"(\d+) of (\d+): ")
"""What a line begins with that tells how much of the work is done."""


@dataclass
class Progress:
    """Logs the lines of a command; those that count (`3 of 5: ...`) move a progress bar on the run's page. `key`: of the bar."""

    key: str
    _bar: UUID | None = None

    def __call__(self, line: str) -> None:
        get_run_logger().info(line)
        if not (counted := COUNTED.match(line)):
            return
        done, total = map(int, counted.groups())
        percent = min(100.0, 100 * done / max(1, total))
        if self._bar is None:
            self._bar = cast(UUID, create_progress_artifact(percent, self.key, line))
        else:
            update_progress_artifact(self._bar, percent, line)


def publish_picture(key: str, path: Path, description: str) -> None:
    """Publish a PNG file, inlined, so that the page needs no other."""
    picture = base64.b64encode(path.read_bytes()).decode()
    create_image_artifact(key=key, image_url=f"data:image/png;base64,{picture}", description=description)


@task(task_run_name="publish", cache_policy=NO_CACHE, timeout_seconds=300)
def publish(outcomes: list[StageResult], overview: Overview, root: Path = ROOT) -> None:
    """Publish which stages ran, the test figures beside the champion's, the gate's verdict and the confusion matrix."""
    create_table_artifact(
        key="stages",
        table=[{"stage": item.stage, "cached": item.cached, "seconds": round(item.seconds, 1)} for item in outcomes],
        description="stages of this run: which ran, which were cached, and their seconds",
    )
    text = summary(Evaluation.read(root / EVALUATION), Registration.read(root / REGISTRATION), overview)
    create_markdown_artifact(key="summary", markdown=text, description="test figures and the gate's verdict")
    publish_picture("confusion-matrix", root / EVALUATION_PLOTS / "confusion.png", "confusion matrix on test")
    if overview.noticed:
        get_run_logger().warning("champion was moved outside the gate: %s", asdict(overview.noticed))


def summary(evaluation: Evaluation, registration: Registration, overview: Overview) -> str:
    """The test figures beside the champion's, the gate's verdict rule by rule, and where the run is in MLflow, as Markdown."""
    champion = overview.champion
    test = evaluation.test
    recorded = champion.figures if champion else {}
    rows = [[evaluation.label_set.metric_label(name), _figure(row), _figure(recorded.get(name))] for name, row in test.figures.items()]
    rules = [["pass" if rule.passed else "**fail**", rule.name, for_markdown(rule.says)] for rule in registration.gate]
    verdict = "passed" if registration.gate_passed else "not passed"
    champion_label = f"version {champion.version}" if champion else "none yet"
    return "\n".join(
        [
            f"## {registration.model} version {registration.version} ({evaluation.picked}): gate {verdict}; champion: {champion_label}",
            f"\n{test.images} test images of {test.groups} groups; 95 % intervals in brackets\n",
            table(["test figure", f"version {registration.version}", f"champion: {champion_label}"], rows),
            "",
            table(["gate", "rule", ""], rules),
            f"\n[MLflow run {registration.mlflow_run}]({_mlflow_page()}/#/runs/{registration.mlflow_run})",
        ]
    )


def _figure(figure: Estimate | None) -> str:
    return "" if figure is None else f"{figure:.3f}"


def _mlflow_page() -> str:
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    return uri.rstrip("/") if uri.startswith("http") else MLFLOW_PAGE
