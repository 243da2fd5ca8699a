"""The tasks that flows are made of. Each has a time limit; only what may work a little later is tried again."""

from pathlib import Path
from typing import Any

from prefect import get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.states import Completed
from prefect.tasks import Task, exponential_backoff

from flows import workspace
from flows.dvc import SOURCES, Outcome, dvc, fresh_stages, run_stage
from flows.processes import LESIONFLOW, ROOT, TryLater, ask

FLOW_RUN = "LESIONFLOW_FLOW_RUN"
MINUTE, HOUR = 60, 3600


def transient(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed task is worth another try: not where the data are bad or a stage itself failed."""
    return isinstance(state.result(raise_on_failure=False), TryLater)


PATIENT: dict[str, Any] = {
    "retries": 4,
    "retry_delay_seconds": exponential_backoff(backoff_factor=10),
    "retry_jitter_factor": 0.3,
    "retry_condition_fn": transient,
    "cache_policy": NO_CACHE,
}


def environment(root: Path) -> dict[str, str]:
    """What a command of this flow run gets besides: the project's MLflow store, and the flow run's id for its tags."""
    return {**workspace.store(root), FLOW_RUN: str(runtime.flow_run.id or "")}


@task(task_run_name="fresh", timeout_seconds=10 * MINUTE, **PATIENT)
def fresh(root: Path = ROOT) -> list[str]:
    """The sources and stages that need no run, in order, up to the first that does."""
    return fresh_stages(get_run_logger().info, root)


@task(task_run_name="{stage}", timeout_seconds=48 * HOUR, **PATIENT)
def stage(stage: str, root: Path = ROOT, force: bool = False, known_fresh: bool = False) -> State[Any]:
    """Run one DVC stage; its output streams into this task's log, and the state says whether DVC had it cached."""
    outcome = Outcome(stage, True, 0.0) if known_fresh else run_stage(stage, get_run_logger().info, environment(root), root, force)
    said = "cached: nothing it depends on has changed" if outcome.cached else f"ran in {outcome.seconds:.1f} s"
    return Completed(message=said, name="Cached" if outcome.cached else "Completed", data=outcome)


@task(task_run_name="pull", timeout_seconds=12 * HOUR, **PATIENT)
def pull(root: Path = ROOT) -> None:
    """Bring the data and the weights that data.dvc and weights.dvc name, from DVC's cache or its remote.

    A checkout that is killed leaves a part of the files, which DVC would take for the dataset: it is noted, and done again by the next
    run (see `unpulled`).
    """
    note = root / workspace.UNFINISHED_CHECKOUT
    dvc(["fetch", *SOURCES], get_run_logger().info, root=root)
    again = ["--force"] if note.exists() else []
    note.parent.mkdir(parents=True, exist_ok=True)
    note.touch()
    dvc(["checkout", *again, *SOURCES], get_run_logger().info, root=root)
    note.unlink()


def unpulled(root: Path = ROOT) -> bool:
    """Whether data/ or weights/ is not there, or there in part."""
    return (root / workspace.UNFINISHED_CHECKOUT).exists() or not all((root / source).with_suffix("").exists() for source in SOURCES)


@task(task_run_name="look", timeout_seconds=10 * MINUTE, **PATIENT)
def look(root: Path = ROOT) -> dict[str, Any]:
    """Who is champion and who is challenger now. A move that a person made in MLflow is noticed, and recorded, here."""
    return dict(
        ask([*LESIONFLOW, "champion", "show", "--format", "json"], get_run_logger().warning, environment(root), root, what="champion")
    )
