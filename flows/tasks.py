"""The tasks of the flows. Each has a timeout; only transient failures are retried."""

from pathlib import Path
from typing import Any

from prefect import get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.states import Completed
from prefect.tasks import Task, exponential_backoff

from components.core.reports.champion import Overview
from components.runtime.environment import FLOW_RUN
from flows import workspace
from flows.processes import LESIONFLOW, ROOT, Command, TransientCommandError, run_json
from flows.stages import SOURCES, StageResult, dvc, run_stage, up_to_date_stages

MINUTE, HOUR = 60, 3600
SEARCHED_STAGES = ("validate", "split", "augment")
"""Stages whose outputs a cross-validation and a search read."""


def transient(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Return whether a failed task is retried: not if the data are invalid or a stage itself failed."""
    return isinstance(state.result(raise_on_failure=False), TransientCommandError)


RETRY_OPTIONS: dict[str, Any] = {
    "retries": 4,
    "retry_delay_seconds": exponential_backoff(backoff_factor=10),
    "retry_jitter_factor": 0.3,
    "retry_condition_fn": transient,
    "cache_policy": NO_CACHE,
}


def environment(root: Path) -> dict[str, str]:
    """Environment variables for a command of this flow run: the project's MLflow store, and the flow run's ID for tags."""
    return {**workspace.mlflow_environment(root), FLOW_RUN: str(runtime.flow_run.id or "")}


@task(task_run_name="status", timeout_seconds=10 * MINUTE, **RETRY_OPTIONS)
def list_up_to_date(root: Path = ROOT) -> list[str]:
    """Sources and stages that are up to date, in order, up to the first stale one."""
    return up_to_date_stages(get_run_logger().info, root)


@task(task_run_name="{stage}", timeout_seconds=48 * HOUR, **RETRY_OPTIONS)
def stage(stage: str, root: Path = ROOT, force: bool = False, is_up_to_date: bool = False) -> State[Any]:
    """Run one DVC stage; its output is streamed to this task's log, and the state shows whether DVC had it cached."""
    outcome = StageResult(stage, True, 0.0) if is_up_to_date else run_stage(stage, get_run_logger().info, environment(root), root, force)
    message = "cached: nothing it depends on has changed" if outcome.cached else f"ran in {outcome.seconds:.1f} s"
    return Completed(message=message, name="Cached" if outcome.cached else "Completed", data=outcome)


@task(task_run_name="pull", timeout_seconds=12 * HOUR, **RETRY_OPTIONS)
def pull(root: Path = ROOT) -> None:
    """Fetch the data and weights of data.dvc and weights.dvc from DVC's cache or its remote.

    A killed checkout leaves incomplete folders, which DVC would accept as the dataset. A marker file therefore makes the next run
    repeat it (see `needs_pull`).
    """
    note = root / workspace.UNFINISHED_CHECKOUT
    dvc(["fetch", *SOURCES], get_run_logger().info, root=root)
    again = ["--force"] if note.exists() else []
    note.parent.mkdir(parents=True, exist_ok=True)
    note.touch()
    dvc(["checkout", *again, *SOURCES], get_run_logger().info, root=root)
    note.unlink()


def needs_pull(root: Path = ROOT) -> bool:
    """Return whether data/ or weights/ is missing or incomplete."""
    return (root / workspace.UNFINISHED_CHECKOUT).exists() or not all((root / source).with_suffix("").exists() for source in SOURCES)


def bring_split_up_to_date() -> None:
    """Run the stages of SEARCHED_STAGES that are stale, in the workspace."""
    if needs_pull():
        pull()
    known = list_up_to_date()
    for name in SEARCHED_STAGES:
        stage(name, ROOT, is_up_to_date=name in known)


@task(task_run_name="champion", timeout_seconds=10 * MINUTE, **RETRY_OPTIONS)
def champion_status(root: Path = ROOT) -> Overview:
    """Show champion and challenger. This also records alias changes that were made in the MLflow UI."""
    show = Command([*LESIONFLOW, "champion", "show", "--format", "json"], "champion")
    return Overview.model_validate(run_json(show, get_run_logger().warning, environment(root), root))
